"""Run the whole flow: from a corpus to a tuned retriever and a report.

python pipelines/quickstart.py configs/quickstart.yaml [key=value ...]
ray job submit --working-dir . -- python pipelines/quickstart.py configs/quickstart.yaml
"""

from __future__ import annotations

import sys

import gradret
from gradret.flow import Flow
from gradret.progress import say
from gradret.work.session import session


def main(path: str, *overrides: str) -> None:
    """Run the stages in order and print what each produced."""
    flow = Flow(gradret.load(path, overrides))
    say(f"documents: {flow.ingest.counts['rows_out']:,}")
    say(f"documents for query generation: {flow.dedupe.counts['sampled']:,}")
    say(f"queries: {flow.generate.counts['rows_out']:,}")
    say(f"pairs scored by the teacher: {flow.label.counts['rows_out']:,}")
    say(f"training lists: {flow.select.counts['rows_out']:,}")
    say(f"best epoch: {flow.train.manifest['notes']['best_epoch']}")
    say(f"systems searched: {', '.join(flow.search)}")
    print(flow.report / "report.html")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
