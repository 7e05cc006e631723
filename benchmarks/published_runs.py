"""Score published runs with ``gradret evaluate --qrels`` and compare with their published scores.

    python -m benchmarks.published_runs DATA

DATA contains the folder ``trecdl19_judged`` with ``qrels/test.tsv`` and ``runs/*.trec``: first-stage runs of TREC DL
2019 with the first 100 documents per query. Plain float64 loops, which share no code with the measures, compute every
value again. Writes ``benchmarks/results/published_runs_<hardware>_<date>.md``; exits 1 if a score differs from the
published score in its four decimals, or from a loop by more than 1e-12.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

from benchmarks.hardware import hardware, result_path

PUBLISHED = {
    "BM25.top100": 0.5058,
    "D_BERT_KD_TASB.top100": 0.7210,
    "OPEN_AI_ADA2.top100": 0.7035,
    "SPLADE_P_P_ENSEMBLE_DISTIL.top100": 0.7308,
}
MEASURES = ("nDCG@10", "Recall@100", "MAP", "MRR@10", "P(rel=2)@5", "judged@10")


def main(data: str) -> int:
    """Score the runs and compare."""
    folder = Path(data) / "trecdl19_judged"
    qrels, runs = folder / "qrels" / "test.tsv", sorted((folder / "runs").glob("*.trec"))
    command = ["evaluate", "--qrels", str(qrels), *map(str, runs), "--measures", ",".join(MEASURES), "--json"]
    done = subprocess.run([sys.executable, "-m", "gradret.cli", *command], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)["datasets"]["test.tsv"]["systems"]
    grades = read_grades(qrels)
    looped = {path.name.removesuffix(".trec"): by_loops(path, grades) for path in runs}
    off = max(abs(found[run][measure] - looped[run][measure]) for run in found for measure in MEASURES)
    missed = [run for run, score in PUBLISHED.items() if f"{found[run]['nDCG@10']:.4f}" != f"{score:.4f}"]
    table = markdown(found, off, missed)
    print(table)
    result_path("published_runs", "md").write_text(table, encoding="utf-8")
    return int(bool(missed) or off > 1e-12)


def read_grades(path: Path) -> dict[str, dict[str, int]]:
    """Return the grades by query, then document."""
    grades: dict[str, dict[str, int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query_id, doc_id, grade = line.split("\t")
        grades.setdefault(query_id, {})[doc_id] = int(grade)
    return grades


def by_loops(path: Path, grades: dict[str, dict[str, int]]) -> dict[str, float]:
    """Return the means of all measures. Like trec_eval: 32-bit scores, and ties broken by descending doc_id."""
    import numpy as np

    found: dict[str, list[tuple[float, str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        query_id, _, doc_id, _, score, _ = line.split()
        found.setdefault(query_id, []).append((float(np.float32(score)), doc_id))
    totals = dict.fromkeys(MEASURES, 0.0)
    for query_id, judged in grades.items():
        ranking = [doc_id for _, doc_id in sorted(found.get(query_id, []), reverse=True)]
        for measure, value in of_query(ranking, judged).items():
            totals[measure] += value / len(grades)
    return totals


def of_query(ranking: list[str], judged: dict[str, int]) -> dict[str, float]:
    """Compute the measures with plain loops."""
    got = [judged.get(doc_id, 0) for doc_id in ranking]
    best = sorted(judged.values(), reverse=True)
    relevant = sum(grade > 0 for grade in best)
    ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(best[:10], 1))
    hits, precision = 0, 0.0
    for rank, grade in enumerate(got, 1):
        if grade > 0:
            hits += 1
            precision += hits / rank
    first = next((rank for rank, grade in enumerate(got[:10], 1) if grade > 0), 0)
    return {
        "nDCG@10": sum(grade / math.log2(rank + 1) for rank, grade in enumerate(got[:10], 1)) / ideal if ideal else 0.0,
        "Recall@100": sum(grade > 0 for grade in got[:100]) / relevant if relevant else 0.0,
        "MAP": precision / relevant if relevant else 0.0,
        "MRR@10": 1 / first if first else 0.0,
        "P(rel=2)@5": sum(grade >= 2 for grade in got[:5]) / 5,
        "judged@10": sum(doc_id in judged for doc_id in ranking[:10]) / len(ranking[:10]) if ranking else 0.0,
    }


def markdown(found: dict[str, dict[str, float]], off: float, missed: list[str]) -> str:
    """Format the result file."""
    lines = [
        "# Published runs of TREC DL 2019, scored here",
        "",
        f"{hardware()}. Command: `python -m benchmarks.published_runs DATA`.",
        f"The greatest distance from loops in float64 is {off:.1g}.",
        f"Published scores missed in their four decimals: {', '.join(missed) or 'none'}.",
        "",
        f"| run | published nDCG@10 | {' | '.join(MEASURES)} |",
        "|---" * (len(MEASURES) + 2) + "|",
    ]
    for run, values in found.items():
        published = f"{PUBLISHED[run]:.4f}" if run in PUBLISHED else ""
        lines.append(f"| {run} | {published} | {' | '.join(f'{values[measure]:.4f}' for measure in MEASURES)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
