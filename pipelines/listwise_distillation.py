"""Listwise distillation with mixed LLM queries (Tamber et al. 2025, 2502.19712).

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
    """Run the paper's steps in order and print what each produced."""
    flow = Flow(gradret.load(path, overrides))
    say(f"passages after removing copies: {flow.dedupe.counts['sampled']:,}")
    say(f"queries about these passages: {flow.generate.counts['rows_out']:,}")
    say(f"pairs with the student's top passages: {flow.mine.counts['rows_out']:,}")
    say(f"pairs scored by the teacher: {flow.label.counts['rows_out']:,}")
    say(f"lists whose source passage the student and the teacher rank high: {flow.select.counts['rows_out']:,}")
    say(f"best epoch: {flow.train.manifest['notes']['best_epoch']}")
    print(flow.report / "report.html")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
