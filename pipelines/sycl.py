"""SyCL (2503.23239): documents at graded relevance, and the Wasserstein loss.

python pipelines/sycl.py configs/sycl.yaml [key=value ...]
ray job submit --working-dir . -- python pipelines/sycl.py configs/sycl.yaml
"""

from __future__ import annotations

import sys

import gradret
from gradret.flow import Flow
from gradret.progress import say
from gradret.work.session import session


def main(path: str, *overrides: str) -> None:
    """Queries, their documents at every grade, lists, training."""
    flow = Flow(gradret.load(path, overrides))
    say(f"queries: {flow.generate.table('queries', ['query_id']).num_rows:,}")
    say(f"graded pairs: {flow.label.counts['rows_out']:,}")
    say(f"lists of several grades: {flow.select.counts['rows_out']:,}")
    say(f"best epoch of the graded loss: {flow.train.manifest['notes']['best_epoch']}")
    print(flow.report / "report.html")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
