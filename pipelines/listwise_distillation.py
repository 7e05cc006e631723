"""Listwise distillation with mixed LLM queries (Tamber et al. 2025, 2502.19712), from a corpus to before -> after.

python pipelines/listwise_distillation.py configs/listwise_distillation.yaml [key=value ...]
ray job submit --working-dir . -- python pipelines/listwise_distillation.py configs/listwise_distillation.yaml
"""

from __future__ import annotations

import sys

import gradret
from gradret.flow import Flow
from gradret.progress import say
from gradret.work.session import session


def main(path: str, *overrides: str) -> None:
    """Every step in the paper's order, and what it left."""
    flow = Flow(gradret.load(path, overrides))
    say(f"passages that are no copies: {flow.dedupe.counts['sampled']:,}")
    say(f"queries about them: {flow.generate.counts['rows_out']:,}")
    say(f"pairs with the student's best passages: {flow.mine.counts['rows_out']:,}")
    say(f"scored by the teacher: {flow.label.counts['rows_out']:,}")
    say(f"lists whose source passage student and teacher rank high: {flow.select.counts['rows_out']:,}")
    say(f"best epoch of KL and positive-aware InfoNCE: {flow.train.manifest['notes']['best_epoch']}")
    print(flow.report / "report.html")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
