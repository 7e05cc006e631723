"""SyCL (2503.23239): documents written at graded relevance, and the Wasserstein loss.

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
    """Run the flow and print what each stage produced."""
    flow = Flow(gradret.load(path, overrides))
    say(f"queries: {flow.generate.table('queries', ['query_id']).num_rows:,}")
    say(f"graded pairs: {flow.label.counts['rows_out']:,}")
    say(f"lists with several grades: {flow.select.counts['rows_out']:,}")
    say(f"best epoch: {flow.train.manifest['notes']['best_epoch']}")
    print(flow.report / "report.html")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
