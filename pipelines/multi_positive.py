"""Several positives per query (2602.12727): train on an LLM's or a teacher's labels, then an epoch on human labels.

python pipelines/multi_positive.py configs/multi_positive.yaml [key=value ...]
ray job submit --working-dir . -- python pipelines/multi_positive.py configs/multi_positive.yaml
"""

from __future__ import annotations

import sys

import gradret
from gradret.config.loading import override
from gradret.flow import Flow
from gradret.progress import say
from gradret.stages.training_queries import any_training_queries
from gradret.work.session import session

# The heterogeneous regime, the same as configs/multi_positive_heterogeneous.yaml. The grades are human judgments:
# documents judged relevant are positives, other documents from BM25 are negatives.
HUMAN = (
    "generate.generator={name: human}",
    "mine.retrievers=[{name: positives}, {name: bm25, k: 30}]",
    "label.teacher={name: fusion}",
    "check.queries=0",
    "select.positive_from=null",
    "select.positives_by=all",
    "select.mix=[{origin: bm25, grade: 0.0}, {origin: positives, grade: 1.0, positive: true}]",
    "train.epochs=1",
)


def main(path: str, *overrides: str) -> None:
    """Train on the config's positives, then continue from that model on the dataset's training queries."""
    config = gradret.load(path, overrides)
    flow = Flow(config)
    say(f"lists with at least one positive: {flow.select.counts['rows_out']:,}")
    folder = flow.report
    print(folder / "report.html")
    if any_training_queries(config) is None:
        say("curriculum skipped: the dataset has no training queries")
        return
    model = f"train.encoder.model={folder / 'model'}"
    print(gradret.run(override(config, [*HUMAN, model, f"name={config.name}-human"])).report)


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
