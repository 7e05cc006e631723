"""nDCG@10 of the quickstart's unchanged config on the embedded collection and on BEIR folders.

    python -m benchmarks.quality [DATA]

DATA contains BEIR folders (scifact, cranfield, vaswani); missing folders are skipped and listed. Untuned MiniLM is
evaluated in addition to the run's four systems. The recipe was chosen on scifact's training queries and on the
even-numbered queries of cranfield and vaswani, which have only test queries; the odd-numbered queries of these two,
which were not used for the choice, are also reported separately. Writes
``benchmarks/results/quality_<hardware>_<date>.{md,json}``; exits 1 if a result is below its floor.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import gradret
from benchmarks.hardware import hardware, result_path
from gradret.encoders.pretrained import Pretrained
from gradret.flow import Flow
from gradret.stages.base import base
from gradret.stages.evaluate import evaluate
from gradret.stages.index import index
from gradret.stages.ingest import ingest
from gradret.stages.queries import queries
from gradret.stages.search import search
from gradret.work.session import session

CONFIG = "configs/quickstart.yaml"
FLOORS = {"scifact": 0.70, "cranfield": 0.40, "vaswani": 0.42}
SYSTEMS = ("bm25", "base", "tuned", "teacher")
CHOSE = ("cranfield", "vaswani")
"""Collections whose even-numbered test queries chose the recipe."""


def main(data: str | None = None) -> int:
    """Measure every available collection."""
    rows, missing = [], []
    for name in FLOORS:
        folder = Path(data or "data") / name
        if folder.is_dir():
            rows.append(measure(name, ["dataset.name=beir", f"dataset.path={folder.resolve()}"]))
        else:
            missing.append(name)
    rows.append(measure("pydocs", []))
    table = markdown(rows, missing)
    print(table)
    result_path("quality", "md").write_text(table, encoding="utf-8")
    result_path("quality", "json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return int(any(row["systems"]["tuned"]["nDCG@10"] < FLOORS.get(row["name"], 0) for row in rows))


def measure(name: str, overrides: list[str]) -> dict:
    """Run the user's command in a fresh storage, then MiniLM on the same collection."""
    with tempfile.TemporaryDirectory() as storage:
        overrides = [*overrides, f"name={name}", f"storage_path={storage}"]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "gradret.cli", "run", CONFIG, *overrides, "--json"],
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds = time.monotonic() - started
        metrics = json.loads(done.stdout)
        config = gradret.load(CONFIG, overrides)
        with session():
            docs = ingest(config)
            human = queries(config, docs)
            model = base(config, docs, Pretrained())
            found = evaluate(config, human, search(config, model, index(config, model, docs), human))
            found = {"minilm": found, **Flow(config).evaluate}
        rows = {system: artifact.table("metrics").to_pandas() for system, artifact in found.items()}
        metrics["systems"]["minilm"] = means(rows["minilm"])
        if name in CHOSE:
            odd = {system: own[own["query_id"].astype(int) % 2 == 1] for system, own in rows.items()}
            metrics["odd"] = {system: means(own) for system, own in odd.items()}
            metrics["odd_queries"] = odd["minilm"]["query_id"].nunique()
    return {**metrics, "wall_seconds": round(seconds, 1)}


def means(rows: pd.DataFrame) -> dict[str, float]:
    """Return the mean of every measure over the queries."""
    found: dict[str, float] = rows.groupby("measure")["value"].mean().to_dict()
    return found


def markdown(rows: list[dict], missing: list[str]) -> str:
    """Format the result file."""
    systems = ("minilm", *SYSTEMS)
    lines = [
        "# Quality of the default config",
        "",
        f"{hardware()}. Command: `make bench DATA=...` (`python -m benchmarks.quality DATA`).",
        "`configs/quickstart.yaml` unchanged, one seed, test queries.",
        "",
    ]
    for measure_name in ("nDCG@10", "Recall@100"):
        lines += [f"| {measure_name} | {' | '.join(systems)} | floor | seconds |", "|---" * (len(systems) + 3) + "|"]
        for row in rows:
            values = " | ".join(f"{row['systems'][system][measure_name]:.4f}" for system in systems)
            floor = FLOORS.get(row["name"], "") if measure_name == "nDCG@10" else ""
            lines.append(f"| {row['name']} | {values} | {floor} | {row['wall_seconds']:.0f} |")
        lines.append("")
    lines += [
        "Odd-numbered queries only, which were not used to choose the recipe:",
        "",
        f"| odd queries | measure | {' | '.join(systems)} |",
        "|---" * (len(systems) + 2) + "|",
    ]
    for row in rows:
        if "odd" in row:
            for measure_name in ("nDCG@10", "Recall@100"):
                values = " | ".join(f"{row['odd'][system][measure_name]:.4f}" for system in systems)
                lines.append(f"| {row['name']}, {row['odd_queries']} | {measure_name} | {values} |")
    lines.append("")
    if missing:
        lines.append(f"Not measured, because the data is missing: {', '.join(missing)}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
