"""Agreement between the two judging passes of the embedded collection.

    python -m benchmarks.agreement

Cohen's kappa (Cohen 1960), plain and with quadratic weights (Cohen 1968), on the four grades and
on relevant (2 or 3) against not relevant. Writes ``benchmarks/results/agreement_*.md``.
"""

from __future__ import annotations

import csv

import numpy as np

from benchmarks.hardware import hardware, result_path
from gradret.datasets.pydocs import DATA


def main() -> None:
    """Read the judgments and write the table."""
    with (DATA / "qrels.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    first = np.array([int(row["first"]) for row in rows])
    second = np.array([int(row["second"]) for row in rows])
    table = np.zeros((4, 4), int)
    np.add.at(table, (first, second), 1)
    text = [
        "# Agreement of the two judging passes of pydocs",
        "",
        f"{hardware()}. Command: `python -m benchmarks.agreement`.",
        "",
        f"{len(rows):,} pairs of {len({row['query-id'] for row in rows})} queries.",
        f"Equal grades: {np.mean(first == second):.4f}. Furthest apart: {np.abs(first - second).max()} grade(s).",
        f"Kappa: {kappa(first, second):.4f}; with quadratic weights {kappa(first, second, quadratic=True):.4f}.",
        f"Kappa of relevant (2, 3) against not: {kappa(first >= 2, second >= 2):.4f}.",
        "",
        "| first \\ second | 0 | 1 | 2 | 3 |",
        "|---|---|---|---|---|",
        *(f"| {grade} | {' | '.join(str(count) for count in row)} |" for grade, row in enumerate(table)),
    ]
    result_path("agreement", "md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


def kappa(first: np.ndarray, second: np.ndarray, *, quadratic: bool = False) -> float:
    """One minus observed over expected disagreement."""
    grades = np.unique(np.concatenate([first, second]))
    rows, columns = np.searchsorted(grades, first), np.searchsorted(grades, second)
    observed = np.zeros((len(grades), len(grades)))
    np.add.at(observed, (rows, columns), 1 / len(rows))
    expected = np.outer(observed.sum(1), observed.sum(0))
    distance = np.abs(np.subtract.outer(np.arange(len(grades)), np.arange(len(grades)))).astype(float)
    weights = distance**2 if quadratic else (distance > 0).astype(float)
    return float(1 - (weights * observed).sum() / (weights * expected).sum())


if __name__ == "__main__":
    main()
