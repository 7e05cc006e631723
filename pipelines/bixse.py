"""BiXSE (2508.06781): graded pairs as soft targets of a binary cross-entropy.

python pipelines/bixse.py configs/bixse.yaml [key=value ...]
ray job submit --working-dir . -- python pipelines/bixse.py configs/bixse.yaml
"""

from __future__ import annotations

import sys

import gradret
from gradret.flow import Flow
from gradret.progress import say
from gradret.work.session import session


def main(path: str, *overrides: str) -> None:
    """Run the flow, print what each stage produced, and the parameters that the loss learned."""
    flow = Flow(gradret.load(path, overrides))
    say(f"queries: {flow.generate.counts['rows_out']:,}")
    say(f"graded pairs: {flow.label.counts['rows_out']:,}")
    learned = flow.train.manifest["notes"]["learned"]
    say(f"learned scale and bias of the loss: {learned}")
    print(flow.report / "report.html")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
