"""Agreement of three language models' relevance grades with the human grades of TREC's Deep Learning track 2019.

    python -m benchmarks.judges DATA

DATA contains the folder ``trecdl19_judged``. Its ``qrels/`` has the human grades in ``test.tsv`` and the models' grades
of the same pairs in ``llm_*.tsv``. Writes ``benchmarks/results/judges_<hardware>_<date>.md``; exits 1 if a rounded
kappa on the four grades differs from the known value for these files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.hardware import hardware, result_path
from gradret.stats.agreement import THRESHOLDS, Agreement, compare

EXPECTED = {"llm_4prompts_llama70b": 0.17, "llm_4prompts_llama8b": 0.12, "llm_4prompts_flant5large": 0.23}


def main(data: str) -> int:
    """Compute the agreements and write the table."""
    folder = Path(data) / "trecdl19_judged" / "qrels"
    files = {str(folder / f"{judge}.tsv"): judge for judge in EXPECTED}
    found = {files[file]: one for file, one in compare(folder / "test.tsv", list(files)).items()}
    text = markdown(found)
    print(text)
    result_path("judges", "md").write_text(text, encoding="utf-8")
    return int(any(round(found[judge].kappa or 0, 2) != kappa for judge, kappa in EXPECTED.items()))


def markdown(found: dict[str, Agreement]) -> str:
    """Format the agreement of all judges, and the confusion matrix of each."""
    measures = ["kappa", "quadratic kappa", *(f"kappa of >= {least}" for least in THRESHOLDS), "Kendall", "Spearman"]
    lines = [
        "# Three judges against human grades",
        "",
        f"{hardware()}. Command: `python -m benchmarks.judges DATA`.",
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
    for judge, one in found.items():
        lines += ["", f"| human \\ {judge} | {' | '.join(map(str, one.grades))} |"]
        lines.append("|---" * (1 + len(one.grades)) + "|")
        for grade, row in zip(one.grades, one.confusion, strict=True):
            lines.append(f"| {grade} | {' | '.join(f'{count:,}' for count in row)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
