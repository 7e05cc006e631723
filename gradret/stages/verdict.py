"""What the teacher check says, and whether it stops the run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gradret.errors import DataError
from gradret.stages.check import MEASURE, Checked
from gradret.stats.significance import ALPHA, p_text

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["FEW", "as_data", "checked", "outcome", "require", "sentence", "skipped", "verdict"]


FEW = 20
"""Fewer queries decide little: then only a significant loss stops a run."""


def checked(artifact: Artifact) -> Checked | None:
    """What the check found; None where it was skipped."""
    return None if skipped(artifact) else Checked(**artifact.manifest["notes"])


def skipped(artifact: Artifact) -> str:
    """Why the teacher was not checked; empty if it was."""
    reason: str = artifact.manifest["notes"].get("skipped", "")
    return reason


def outcome(found: Checked) -> str:
    """``better``, ``better, not significant`` or ``not better`` than the retriever."""
    if found.difference <= 0:
        return "not better"
    return "better" if _significant(found) else "better, not significant"


def verdict(found: Checked) -> str:
    """A sentence or two for people."""
    ranks = {
        "better": "ranks better than",
        "better, not significant": "ranks better than, but not significantly so,",
        "not better": "ranks no better than",
    }
    text = (
        f"The teacher {found.teacher} {ranks[outcome(found)]} the retriever {found.retriever}, whose documents it "
        f"orders anew: {MEASURE} {found.teacher_ndcg:.3f} against {found.retriever_ndcg:.3f} "
        f"({found.difference:+.3f}, {p_text(found.p)}) on {_sample(found)}."
    )
    return f"{text} So few queries decide little." if found.queries < FEW else text


def sentence(artifact: Artifact) -> str:
    """The verdict, or why there is none; what is to be worried about begins with WARNING."""
    found = checked(artifact)
    if not found:
        return f"The teacher is not checked: {skipped(artifact)}."
    return verdict(found) if outcome(found) == "better" else f"WARNING: {verdict(found)}"


def require(config: Config, artifact: Artifact) -> None:
    """Stop where the teacher is to teach what it does no better, unless ``check.stop`` is off.

    Raises:
        DataError: the teacher ranks no better than the retriever, on at least ``FEW`` queries or
            significantly worse.
    """
    found = checked(artifact)
    if not found or not config.check.stop or outcome(found) != "not better":
        return
    if found.queries >= FEW or _significant(found):
        raise DataError(
            f"check: {verdict(found)}\n"
            "A student learns its teacher's order, and this one's is no improvement: Tamber et al. (2025) saw "
            "retrieval on FEVER, Climate-FEVER, SciDocs and ArguAna fall, and a weaker teacher would explain it. "
            "Nothing is labelled for training yet. Set label.teacher to a stronger one, or go on with check.stop=false."
        )


def as_data(artifact: Artifact) -> dict[str, Any]:
    """What programs read: the fields of ``Checked`` with the outcome, or ``skipped`` with the reason."""
    found = checked(artifact)
    return {"outcome": outcome(found), **asdict(found)} if found else {"skipped": skipped(artifact)}


def _significant(found: Checked) -> bool:
    return found.p is not None and found.p < ALPHA


def _sample(found: Checked) -> str:
    if found.sample == "generated":
        return (
            f"{found.queries:,} generated queries, those of {found.drawn:,} whose source document, taken as the "
            "relevant one, the retriever finds"
        )
    return f"{found.queries:,} queries judged in the dataset's split {found.sample}"
