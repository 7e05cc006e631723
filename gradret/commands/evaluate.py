"""``gradret evaluate``: systems on a list of datasets, in one table."""

from __future__ import annotations

from pathlib import Path

from gradret.config.evaluation import Evaluation, refuse_missing
from gradret.progress import say
from gradret.report.comparison import Table
from gradret.report.evaluation import evaluation_report
from gradret.stages.evaluate import evaluate
from gradret.stages.ingest import ingest
from gradret.stages.queries import queries
from gradret.stages.systems import search_system
from gradret.store.artifacts import Artifact

__all__ = ["evaluate_on", "run_evaluation"]


def evaluate_on(evaluation: Evaluation, dataset: str) -> dict[str, Artifact]:
    """What an evaluation makes for one of its datasets, by name: as ``Flow.made`` has it."""
    config = evaluation.config(dataset)
    docs = ingest(config)
    human = queries(config, docs)
    made = {"ingest": docs, "queries": human}
    for name, system in evaluation.systems.items():
        made[f"search.{name}"] = search_system(config, system, dataset, docs, human)
        made[f"evaluate.{name}"] = evaluate(config, human, made[f"search.{name}"])
    return made


def run_evaluation(evaluation: Evaluation) -> tuple[Path, Table]:
    """Evaluate all systems on all datasets, one after the other; the evaluation's folder and its table.

    Raises:
        DataError: datasets or models are not available; all are named before work starts.
    """
    refuse_missing(evaluation)
    made = {}
    for number, dataset in enumerate(evaluation.datasets, 1):
        say(f"{dataset} ({number} of {len(evaluation.datasets)})")
        made[dataset] = evaluate_on(evaluation, dataset)
    return evaluation_report(evaluation, made)
