"""Fine-tune MiniLM on scifact's training queries on a CPU, and compare with MiniLM before training.

    python -m benchmarks.transformer DATA [--storage FOLDER]

DATA contains the BEIR folder scifact. Runs ``configs/transformer_human.yaml`` unchanged and writes
``benchmarks/results/transformer_<hardware>_<date>.md``; exits 1 if nDCG@10 on the test queries did not improve.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import gradret
from benchmarks.hardware import hardware, result_path
from gradret.flow import Flow
from gradret.work.session import session

CONFIG = "configs/transformer_human.yaml"
MEASURES = ("nDCG@10", "Recall@100")


def main() -> int:
    """Run the config and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="contains the BEIR folder scifact")
    parser.add_argument("--storage", type=Path, help="keep artifacts here, and resume from them")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, session():
        storage = (parsed.storage or Path(temporary)).resolve()
        folder = (parsed.data / "scifact").resolve()
        flow = Flow(gradret.load(CONFIG, [f"dataset.path={folder}", f"storage_path={storage}"]))
        metrics = json.loads((flow.report / "metrics.json").read_text(encoding="utf-8"))
        manifest = flow.train.manifest
    result_path("transformer", "md").write_text(markdown(metrics, manifest), encoding="utf-8")
    systems = metrics["systems"]
    return int(systems["tuned"]["nDCG@10"] <= systems["base"]["nDCG@10"])


def markdown(metrics: dict, manifest: dict) -> str:
    """Format the result file."""
    notes, counts = manifest["notes"], manifest["counts"]
    lines = [
        "# MiniLM specialised to scifact on a CPU",
        "",
        f"{hardware()}. Command: `python -m benchmarks.transformer DATA`.",
        f"`{CONFIG}` unchanged, one seed: {counts['train']:,} lists of scifact's training queries, graded by the",
        f"fusion teacher. Epoch {notes['best_epoch']} of 0 (untrained) to {notes['epochs']} is best. Training took",
        f"{manifest['seconds']:,.0f} s. There are {metrics['queries']:,} test queries; `base` is MiniLM before",
        "training, with the same lengths.",
        "",
        f"| system | {' | '.join(MEASURES)} |",
        "|---|---|---|",
    ]
    for system in ("bm25", "base", "tuned", "teacher"):
        values = " | ".join(f"{metrics['systems'][system][measure]:.4f}" for measure in MEASURES)
        lines.append(f"| {system} | {values} |")
    against = [one for one in metrics["significance"] if one["b"] == "base" and one["measure"] in MEASURES]
    lines += [
        "",
        *(
            f"{one['measure']}: tuned - base {one['difference']:+.4f}; paired t-test p = {one['p']:.3f}, "
            f"Holm-corrected over all comparisons of the run p = {one['p_corrected']:.3f}."
            for one in against
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
