"""CPU time, memory and disk of every stage, from which ``gradret plan`` estimates.

    python -m benchmarks.rates [--storage FOLDER] [--cell NUMBER]

Runs ``configs/quickstart.yaml`` on a small and a larger generated collection. A stage's CPU time is a constant plus a
rate per document, per query or, where a stage scores queries against all documents, per pair of both. There are as
many test queries as training queries. Queries are written about 500 documents, so that their number does not grow with
the collection. Time is CPU time of all processes, Ray's included, because it depends less than wall-clock time on what
else the machine does. A stage is charged what the process tree used while its artifacts were made. Writes
``gradret/planning/rates.yaml`` and ``benchmarks/results/rates_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from scipy.optimize import nnls

from benchmarks.any_size import counts_of, write_collection
from benchmarks.evaluate_scale import write_queries
from benchmarks.hardware import hardware, result_path
from benchmarks.tree_memory import pss
from gradret.planning.rates import stage_of
from gradret.planning.sizes import UNITS

CELLS = ((2_000, 500), (12_000, 2_000))
RATES = Path(__file__).parents[1] / "gradret" / "planning" / "rates.yaml"
# Stages that score queries against all documents.
PAIRWISE = {"mine", "label", "search", "smaller"}
INTERVAL = 0.5


def main() -> None:
    """Run the cells that are not done, fit, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--storage", type=Path, help="keep measured cells here, and resume from them")
    parser.add_argument("--cell", type=int, help="measure this cell only")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        storage = (parsed.storage or Path(temporary)).absolute()
        if parsed.cell is not None:
            cell(storage, *CELLS[parsed.cell])
            return
        write(fit([cell(storage, *sizes) for sizes in CELLS]), [cell(storage, *sizes) for sizes in CELLS])


def cell(storage: Path, documents: int, queries: int) -> dict[str, Any]:
    """What each kind of artifact took in a run of this size; measured once."""
    folder = storage / f"{documents}-{queries}"
    if not (folder / "cell.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_collection(folder / "data", documents)
        write_queries(folder / "data", documents, queries)
        words = ["dataset.name=beir", f"dataset.path={folder / 'data'}", f"storage_path={folder / 'storage'}"]
        command = [sys.executable, "-m", "gradret.cli", "run", "configs/quickstart.yaml", "name=rates", *words]
        samples = sampled([*command, f"generate.generator.queries={queries}", "dedupe.max_docs=500"])
        artifacts = folder / "storage" / "artifacts"
        written = counts_of(folder / "storage", "generate")["rows_out"]
        judged = counts_of(folder / "storage", "queries")["test_queries"]
        sizes = {"documents": documents, "queries": written, "test_queries": judged}
        measured = sizes | {"kinds": charged(artifacts, samples)}
        (folder / "cell.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    done: dict[str, Any] = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
    return done


def sampled(command: list[str]) -> np.ndarray:
    """Run a command; returns time, CPU seconds so far and GiB of its process tree, one row per sample."""
    rows, used = [], dict[int, float]()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                own = psutil.Process(process.pid)
                tree = [own, *own.children(recursive=True)]
                # A process that has ended keeps its last value.
                used |= {each.pid: seconds for each in tree if (seconds := cpu_seconds(each))}
                rows.append((time.time(), sum(used.values()), sum(pss(each.pid)[0] for each in tree)))
            time.sleep(INTERVAL)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return np.array(rows)


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process; 0 if it has ended."""
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def charged(artifacts: Path, samples: np.ndarray) -> dict[str, dict[str, float]]:
    """Sums by kind of artifact: CPU seconds, peak GiB and bytes on disk; wall-clock seconds for comparison."""
    when, cpu, gib = samples.T
    kinds: dict[str, dict[str, float]] = {}
    for manifest in artifacts.glob("*/*/manifest.json"):
        end, seconds = manifest.stat().st_mtime, json.loads(manifest.read_text(encoding="utf-8"))["seconds"]
        inside = (when >= end - seconds) & (when <= end)
        name = stage_of(manifest.parent.parent.name)
        kind = kinds.setdefault(name, dict.fromkeys(("cpu_seconds", "seconds", "bytes", "gib"), 0))
        kind["cpu_seconds"] += float(np.interp(end, when, cpu) - np.interp(end - seconds, when, cpu))
        kind["seconds"] += seconds
        kind["bytes"] += sum(path.stat().st_size for path in manifest.parent.rglob("*") if path.is_file())
        kind["gib"] = max(kind["gib"], float(gib[inside].max(initial=float(np.interp(end, when, gib)))))
    return kinds


def fit(cells: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Non-negative least squares of CPU time and disk over a constant and what they grow with; the most memory.

    Memory is not extrapolated: between collections this small it differs by the workers that Ray keeps, and stages
    hold bounded parts of a large one (``benchmarks.any_size``).
    """
    rates: dict[str, dict[str, dict[str, float]]] = {}
    for kind in sorted(set.intersection(*(set(each["kinds"]) for each in cells))):
        sizes = [sizes_of(kind, each) for each in cells]
        own = "per_document" if UNITS[kind] == "documents" else "per_query"
        grows = {"cpu_seconds": "per_pair" if kind in PAIRWISE else own, "bytes": own}
        rates[kind] = {"gib": {"fixed": round(max(each["kinds"][kind]["gib"] for each in cells), 2)}}
        for quantity, term in grows.items():
            terms = ("fixed", term)
            matrix = np.array([[each[name] for name in terms] for each in sizes], float)
            wanted = np.array([each["kinds"][kind][quantity] for each in cells])
            solution = nnls(matrix / matrix.max(0), wanted)[0] / matrix.max(0)
            rates[kind][quantity] = {name: float(f"{x:.3g}") for name, x in zip(terms, solution, strict=True) if x}
    return rates


def sizes_of(kind: str, each: dict[str, Any]) -> dict[str, float]:
    """What each term of a cost is multiplied with, in a cell."""
    documents, queries = each["documents"], each["test_queries" if UNITS[kind] == "test queries" else "queries"]
    return {"fixed": 1, "per_document": documents, "per_query": queries, "per_pair": documents * queries}


def write(rates: dict[str, Any], cells: list[dict[str, Any]]) -> None:
    """Write the rates, and the table of what they say and what was measured."""
    write_rates(rates, source=f"benchmarks/results/{result_path('rates', 'md').name}")
    result_path("rates", "json").write_text(json.dumps({"cells": cells, "rates": rates}, indent=1) + "\n", "utf-8")
    result_path("rates", "md").write_text(markdown(rates, cells), encoding="utf-8")


def write_rates(rates: dict[str, Any], **sources: str) -> None:
    """Write the rates over those of the same kinds, and the result files that they are from."""
    known = yaml.safe_load(RATES.read_text(encoding="utf-8"))
    content = known | sources | {"rates": dict(sorted({**known["rates"], **rates}.items()))}
    head = "# Written by `python -m benchmarks.rates` and `rates_smaller`; see there for the meaning. Do not edit.\n"
    RATES.write_text(head + yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def markdown(rates: dict[str, Any], cells: list[dict[str, Any]]) -> str:
    """Format the result file."""
    names = [f"{each['documents']:,} x {each['queries']:,}" for each in cells]
    lines = [
        "# CPU time of every stage by size",
        "",
        f"{hardware()}. Command: `python -m benchmarks.rates`.",
        "The quickstart's config on generated documents of 60 words; as many test queries as training queries.",
        "CPU seconds of all processes while the artifacts of a kind were made: measured / fitted, by documents x",
        "queries. `wall` are the seconds of the largest cell, on a machine that did other work too. GiB is the peak of",
        "all processes together, MB the artifacts on disk; both of the largest cell.",
        "",
        f"| kind | {' | '.join(names)} | wall | GiB | MB |",
        "|---" * (len(cells) + 4) + "|",
    ]
    for kind, rate in rates.items():
        shown = [
            f"{each['kinds'][kind]['cpu_seconds']:.1f} / {fitted(kind, rate['cpu_seconds'], each):.1f}"
            for each in cells
        ]
        last = cells[-1]["kinds"][kind]
        tail = f"{last['seconds']:.1f} | {last['gib']:.2f} | {last['bytes'] / 1e6:.1f}"
        lines.append(f"| {kind} | {' | '.join(shown)} | {tail} |")
    return "\n".join(lines) + "\n"


def fitted(kind: str, terms: dict[str, float], each: dict[str, Any]) -> float:
    """The fitted value for a cell."""
    sizes = sizes_of(kind, each)
    return sum(sizes[term] * rate for term, rate in terms.items())


if __name__ == "__main__":
    main()
