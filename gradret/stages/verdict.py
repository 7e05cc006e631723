"""The verdict of the teacher check, and whether it stops the run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gradret.errors import DataError
from gradret.stages.check import MEASURE, CheckResult
from gradret.stats.significance import ALPHA, p_text

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["FEW", "as_data", "check_result", "outcome", "require", "sentence", "skipped", "verdict"]


FEW = 20
"""With fewer queries, only a significant loss stops a run."""


def check_result(artifact: Artifact) -> CheckResult | None:
    """Result of the check; None if it was skipped."""
    return None if skipped(artifact) else CheckResult(**artifact.manifest["notes"])


def skipped(artifact: Artifact) -> str:
    """Why the check was skipped; empty if it was not."""
    reason: str = artifact.manifest["notes"].get("skipped", "")
    return reason


def outcome(result: CheckResult) -> str:
    """``better``, ``better, not significant`` or ``not better`` than the retriever."""
    if result.difference <= 0:
        return "not better"
    return "better" if _significant(result) else "better, not significant"


def verdict(result: CheckResult) -> str:
    """The verdict in a sentence or two."""
    ranks = {
        "better": "ranks better than",
        "better, not significant": "ranks better than, but not significantly so,",
        "not better": "ranks no better than",
    }
    text = (
        f"The teacher {result.teacher} {ranks[outcome(result)]} the retriever {result.retriever}, whose documents it "
        f"reranks: {MEASURE} {result.teacher_ndcg:.3f} against {result.retriever_ndcg:.3f} "
        f"({result.difference:+.3f}, {p_text(result.p)}) on {_sample(result)}."
    )
    return f"{text} These are too few queries to tell." if result.queries < FEW else text


def sentence(artifact: Artifact) -> str:
    """The verdict, or why there is none; begins with WARNING unless the teacher is significantly better."""
    result = check_result(artifact)
    if not result:
        return f"The teacher was not checked: {skipped(artifact)}."
    return verdict(result) if outcome(result) == "better" else f"WARNING: {verdict(result)}"


def require(config: Config, artifact: Artifact) -> None:
    """Stop the run if the teacher ranks no better than the retriever, unless ``check.stop`` is off.

    Raises:
        DataError: the teacher ranks no better, on at least ``FEW`` queries, or significantly worse.
    """
    result = check_result(artifact)
    if not result or not config.check.stop or outcome(result) != "not better":
        return
    if result.queries >= FEW or _significant(result):
        raise DataError(
            f"check: {verdict(result)}\n"
            "A student learns its teacher's ranking, and this one is no improvement: in Tamber et al. (2025) "
            "retrieval on FEVER, Climate-FEVER, SciDocs and ArguAna got worse, and a weaker teacher would explain it. "
            "No training pair has been labelled yet. Set label.teacher to a stronger teacher, or continue with "
            "check.stop=false."
        )


def as_data(artifact: Artifact) -> dict[str, Any]:
    """The check for ``metrics.json``: the fields of ``CheckResult`` and the outcome, or ``skipped`` with the reason."""
    result = check_result(artifact)
    return {"outcome": outcome(result), **asdict(result)} if result else {"skipped": skipped(artifact)}


def _significant(result: CheckResult) -> bool:
    return result.p is not None and result.p < ALPHA


def _sample(result: CheckResult) -> str:
    if result.sample == "generated":
        return (
            f"{result.queries:,} of {result.drawn:,} generated queries, those whose source document the retriever "
            "finds; it counts as the only relevant document"
        )
    return f"{result.queries:,} queries judged in the dataset's split {result.sample}"
