"""Agreement of three language models' relevance grades with the human grades of TREC's Deep Learning track 2019.

    python -m benchmarks.judges DATA [--model MODEL [--queries 43]]

DATA contains the folder ``trecdl19_judged``. Its ``qrels/`` has the human grades in ``test.tsv`` and the models' grades
of the same pairs in ``llm_*.tsv``. Writes ``benchmarks/results/judges_<hardware>_<date>.md``; exits 1 if a rounded
kappa on the four grades differs from the known value for these files. MODEL, a folder or a GGUF file, is checked too,
as judge and as annotator.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.hardware import hardware, result_path
from benchmarks.judges_local import check_model
from benchmarks.judges_local import markdown as model_section
from gradret.judgments import read_qrels
from gradret.stats.agreement import THRESHOLDS, Agreement, Judgments, compare
from gradret.stats.signal import Scored, Signal, signal

EXPECTED = {"llm_4prompts_llama70b": 0.17, "llm_4prompts_llama8b": 0.12, "llm_4prompts_flant5large": 0.23}


def main() -> int:
    """Compute the agreements and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="", help="a local instruct model to check as well")
    parser.add_argument("--queries", type=int, default=43, help="queries that it is checked on")
    asked = parser.parse_args()
    folder = asked.data / "trecdl19_judged" / "qrels"
    files = {str(folder / f"{judge}.tsv"): judge for judge in EXPECTED}
    found = {files[file]: one for file, one in compare(folder / "test.tsv", list(files)).items()}
    command = "python -m benchmarks.judges DATA"
    if asked.model:
        command += f" --model {Path(asked.model).name} --queries {asked.queries}"
    text = markdown(command, found, {judge: _signal(read_qrels(file)) for file, judge in files.items()})
    if asked.model:
        with tempfile.TemporaryDirectory() as storage:
            checked = check_model(folder.parent, asked.model, asked.queries, Path(storage))
        text += "\n".join([*model_section(Path(asked.model).name, checked), ""])
    print(text)
    result_path("judges", "md").write_text(text, encoding="utf-8")
    return int(any(round(found[judge].kappa or 0, 2) != kappa for judge, kappa in EXPECTED.items()))


def _signal(grades: Judgments) -> Signal:
    """Whether the grades tell the documents of a query apart."""
    by_query: dict[str, list[float]] = {}
    for (query_id, _), grade in grades.items():
        by_query.setdefault(query_id, []).append(grade)
    return signal((Scored(np.array(scores), range(len(scores)), None) for scores in by_query.values()), 1.0, 0)


def markdown(command: str, found: dict[str, Agreement], signals: dict[str, Signal]) -> str:
    """Format the agreement and signal of all judges, and the confusion matrix of each."""
    measures = ["kappa", "quadratic kappa", *(f"kappa of >= {least}" for least in THRESHOLDS), "Kendall", "Spearman"]
    lines = [
        "# Three judges against human grades",
        "",
        f"{hardware()}. Command: `{command}`.",
        "",
        "All judged pairs of TREC DL 2019's 43 queries, grades 0 to 3. Kappas are Cohen's; correlations are",
        "over all queries together.",
        "",
        f"| judge | pairs | {' | '.join(measures)} |",
        "|---|" + "---|" * (1 + len(measures)),
    ]
    for judge, one in found.items():
        values = [one.kappa, one.quadratic_kappa, *one.binary_kappa.values(), one.kendall_tau, one.spearman]
        lines.append(f"| {judge} | {one.pairs:,} | {' | '.join(f'{value:.4f}' for value in values)} |")
    lines += ["", "| judge | queries | told apart | spread | entropy, bits |", "|---|---|---|---|---|"]
    lines += [
        f"| {judge} | {one.queries} | {one.told_apart} | {one.spread:.3f} | {one.entropy:.3f} |"
        for judge, one in signals.items()
    ]
    for judge, one in found.items():
        lines += ["", f"| human \\ {judge} | {' | '.join(map(str, one.grades))} |"]
        lines.append("|---" * (1 + len(one.grades)) + "|")
        for grade, row in zip(one.grades, one.confusion, strict=True):
            lines.append(f"| {grade} | {' | '.join(f'{count:,}' for count in row)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
