"""Evaluate systems on a list of datasets and print a table.

python pipelines/evaluate.py configs/beir.yaml [key=value ...]
ray job submit --working-dir . -- python pipelines/evaluate.py configs/beir.yaml
"""

from __future__ import annotations

import sys

from gradret.commands.evaluate import run_evaluation
from gradret.config.evaluation import load_evaluation
from gradret.report.comparison import terminal_text
from gradret.work.session import session


def main(path: str, *overrides: str) -> None:
    """Run the evaluation and print its table and the path of its report."""
    folder, table = run_evaluation(load_evaluation(path, overrides))
    print(f"{terminal_text(table)}\n\n{folder / 'report.html'}")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
