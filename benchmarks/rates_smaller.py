"""CPU time, memory and disk of comparing smaller vectors, from which ``gradret plan`` estimates ``smaller``.

    python -m benchmarks.rates_smaller

As ``benchmarks.rates``, on the same generated collections, but only the stage ``smaller`` is measured, with the vectors
of the untrained student: what it takes depends on their number and size alone. With the whole vectors it compares four
sizes. Adds ``smaller`` to ``gradret/planning/rates.yaml`` and writes
``benchmarks/results/rates_smaller_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.any_size import write_collection
from benchmarks.evaluate_scale import write_queries
from benchmarks.hardware import hardware, result_path
from benchmarks.rates import CELLS, charged, fit, fitted, sampled, write_rates
from gradret.config.loading import load
from gradret.flow import Flow
from gradret.stages.smaller import smaller
from gradret.work.session import session

SIZES = ["256", "int8", "64 binary"]


def main() -> None:
    """Measure both cells and write the rates; with ``--compare``, the work that is measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--compare", nargs="*", metavar="key=value", help="compare the sizes with this config")
    overrides = parser.parse_args().compare
    if overrides is not None:
        compare(overrides)
        return
    cells = [cell(*sizes) for sizes in CELLS]
    rates = fit(cells)
    write_rates(rates, smaller_source=f"benchmarks/results/{result_path('rates_smaller', 'md').name}")
    result = json.dumps({"cells": cells, "rates": rates}, indent=1) + "\n"
    result_path("rates_smaller", "json").write_text(result, encoding="utf-8")
    result_path("rates_smaller", "md").write_text(markdown(rates["smaller"], cells), encoding="utf-8")


def compare(overrides: list[str]) -> None:
    """Compare the sizes of the untrained student's vectors."""
    config = load("configs/quickstart.yaml", overrides)
    with session():
        flow = Flow(config)
        smaller(config, flow.base, flow.ingest, flow.queries)


def cell(documents: int, queries: int) -> dict[str, Any]:
    """What the stage took on a collection of this size, in the form of ``benchmarks.rates``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_collection(folder / "data", documents)
        write_queries(folder / "data", documents, queries)
        words = ["dataset.name=beir", f"dataset.path={folder / 'data'}", f"storage_path={folder / 'storage'}"]
        words += ["name=rates", f"search.smaller={json.dumps(SIZES)}"]
        samples = sampled([sys.executable, "-m", "benchmarks.rates_smaller", "--compare", *words])
        measured = charged(folder / "storage" / "artifacts", samples)["smaller"]
    return {"documents": documents, "queries": queries, "test_queries": queries, "kinds": {"smaller": measured}}


def markdown(rate: dict[str, dict[str, float]], cells: list[dict[str, Any]]) -> str:
    """Format the result file."""
    lines = [
        "# CPU time of comparing smaller vectors",
        "",
        f"{hardware()}. Command: `python -m benchmarks.rates_smaller`.",
        f"The whole vectors, of 640 dimensions, and {', '.join(SIZES)}; generated documents of 60 words.",
        "CPU seconds of all processes during the stage, measured and fitted; GiB is their peak memory.",
        "",
        "| documents x test queries | CPU seconds | fitted | wall | GiB |",
        "|---" * 5 + "|",
    ]
    for each in cells:
        kind = each["kinds"]["smaller"]
        lines.append(
            f"| {each['documents']:,} x {each['test_queries']:,} | {kind['cpu_seconds']:.1f} "
            f"| {fitted('smaller', rate['cpu_seconds'], each):.1f} | {kind['seconds']:.1f} | {kind['gib']:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
