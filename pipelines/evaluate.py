"""An evaluation as a flat script: systems on a list of datasets, one table.

python pipelines/evaluate.py configs/beir.yaml [key=value ...]
ray job submit --working-dir . -- python pipelines/evaluate.py configs/beir.yaml
"""

from __future__ import annotations

import sys

from gradret.config.evaluation import load_evaluation, refuse_missing
from gradret.report.comparison import terminal_text
from gradret.report.evaluation import evaluation_report
from gradret.stages.evaluate import evaluate
from gradret.stages.ingest import ingest
from gradret.stages.queries import queries
from gradret.stages.systems import search_system
from gradret.work.session import session


def main(path: str, *overrides: str) -> None:
    """From datasets and models to a table."""
    evaluation = load_evaluation(path, overrides)
    refuse_missing(evaluation)
    made = {}
    for dataset in evaluation.datasets:
        config = evaluation.config(dataset)
        docs = ingest(config)
        human = queries(config, docs)
        made[dataset] = {"ingest": docs, "queries": human}
        for name, system in evaluation.systems.items():
            run = search_system(config, system, dataset, docs, human)
            made[dataset] |= {f"search.{name}": run, f"evaluate.{name}": evaluate(config, human, run)}
    folder, table = evaluation_report(evaluation, made)
    print(f"{terminal_text(table)}\n\n{folder / 'report.html'}")


if __name__ == "__main__":
    with session():
        main(*sys.argv[1:])
