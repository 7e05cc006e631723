"""``gradret evaluate``: compare systems on a list of datasets, in one table."""

from __future__ import annotations

from pathlib import Path

from gradret.config.evaluation import Evaluation, require_available
from gradret.progress import say
from gradret.report.comparison import Table
from gradret.report.evaluation import evaluation_report
from gradret.report.folder import results_folder
from gradret.stages.cut import cut
from gradret.stages.evaluate import evaluate
from gradret.stages.ingest import ingest
from gradret.stages.queries import queries
from gradret.stages.systems import search_system
from gradret.store.artifacts import Artifact

__all__ = ["evaluate_on", "run_evaluation"]


def evaluate_on(evaluation: Evaluation, dataset: str) -> dict[str, Artifact]:
    """Run an evaluation on one of its datasets; returns the artifacts by name, as in ``Flow.artifacts``."""
    config = evaluation.config(dataset)
    docs = ingest(config)
    human = queries(config, docs)
    passages = cut(config, docs)
    artifacts = {"ingest": docs, "queries": human} | ({} if passages is docs else {"cut": passages})
    for name in evaluation.systems:
        artifacts[f"search.{name}"] = search_system(config, evaluation.system(name, dataset), docs, human, passages)
        artifacts[f"evaluate.{name}"] = evaluate(config, human, artifacts[f"search.{name}"], name)
    return artifacts


def run_evaluation(evaluation: Evaluation) -> tuple[Path, Table]:
    """Evaluate all systems on all datasets, one dataset after the other.

    Returns:
        The evaluation's folder, and its table.

    Raises:
        ConfigError: the evaluation's folder holds the results of another config.
        DataError: datasets or models are not available; names all of them before any work starts.
    """
    results_folder(evaluation, "evaluations")
    require_available(evaluation)
    artifacts = {}
    for number, dataset in enumerate(evaluation.datasets, 1):
        say(f"{dataset} ({number} of {len(evaluation.datasets)})")
        artifacts[dataset] = evaluate_on(evaluation, dataset)
    return evaluation_report(evaluation, artifacts)
