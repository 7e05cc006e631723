"""The verdicts on a teacher, from its check and from its labels, and whether they stop the run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.errors import DataError
from gradret.stages.check import MEASURE, CheckResult
from gradret.stats.significance import ALPHA, p_text

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = [
    "FEW",
    "as_data",
    "check_result",
    "orders_sentence",
    "outcome",
    "require",
    "require_signal",
    "sentence",
    "signal_sentence",
    "skipped",
    "verdict",
]


FEW = 20
"""With fewer queries, only a significant loss stops a run."""
_WARNING = "WARNING: "
_APART = 0.1
"""A teacher that tells the documents of fewer queries than this share apart grades everything alike."""
_CHANCE = 0.5
_ORDER_DECIDES = 0.2
"""With a lower correlation of both orders' scores, places are graded and not documents: kappa is slight up to there in
Landis and Koch's scale, and fair up to the next."""
_ORDER_SWAYS = 0.4


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
    return verdict(result) if outcome(result) == "better" else f"{_WARNING}{verdict(result)}"


def require(config: Config, artifact: Artifact) -> None:
    """Stop the run if the check found that the teacher is of no use, unless ``check.stop`` is off.

    Raises:
        DataError: a language model does not tell documents apart, or the teacher ranks no better than the retriever, on
            at least ``FEW`` queries, or significantly worse.
    """
    require_signal(config, artifact)
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


def require_signal(config: Config, artifact: Artifact) -> None:
    """Stop the run if the labels of a language model do not tell documents apart, unless ``check.stop`` is off.

    Raises:
        DataError: on at least ``FEW`` queries it grades everything alike, ranks their source documents by chance, or
            grades by the order in which it sees them.
    """
    notes, teacher = artifact.manifest["notes"], name_of(config.label.teacher)
    signal, orders = notes.get("signal"), notes.get("orders")
    problem = signal_sentence(artifact, teacher) if signal and not _tells_apart(signal) else ""
    if not problem and orders and orders["queries"] >= FEW and _correlation(orders) < _ORDER_DECIDES:
        problem = orders_sentence(artifact, teacher)
    if problem and config.check.stop:
        raise DataError(
            f"{artifact.stage}: {problem.removeprefix(_WARNING)}\n"
            "A student learns nothing from such labels but noise. Set label.teacher to a stronger model or another "
            "template, or continue with check.stop=false."
        )


def signal_sentence(artifact: Artifact, teacher: str) -> str:
    """How well a language model tells documents apart; empty if the labels are of another teacher."""
    signal = artifact.manifest["notes"].get("signal")
    if not signal or not signal["queries"]:
        return ""
    apart, queries, wins = signal["told_apart"], signal["queries"], signal["source_wins"]
    measure = "by half a grade or more" if signal["grades"] else "at all"
    text = f"its highest and lowest scores differ {measure} in {apart:,} of {queries:,} queries"
    if _graded_alike(signal):
        return f"The teacher {teacher} grades everything alike: {text}."
    if not wins:
        return f"The teacher {teacher} tells documents apart: {text}."
    ranks = (
        f"ranks the document that a query was written about above {wins['value']:.0%} of its other candidates "
        f"(50% is chance; {signal['sources']:,} queries)"
    )
    judged = "has no signal" if _by_chance(signal) else "tells documents apart"
    return f"The teacher {teacher} {judged}: {text}, and it {ranks}."


def orders_sentence(artifact: Artifact, teacher: str) -> str:
    """How far the order of what a language model sees decides; empty if it was not asked in both orders.

    Begins with WARNING if the order sways it.
    """
    orders = artifact.manifest["notes"].get("orders")
    if not orders or orders["correlation"] is None:
        return ""
    text = (
        f"within queries, its scores of the same documents in two presentation orders correlate by "
        f"{orders['correlation']:.2f} (1 if the order changes nothing, 0 if it decides; {orders['queries']:,} queries)"
    )
    if _correlation(orders) < _ORDER_DECIDES:
        return f"{_WARNING}The teacher {teacher} grades places, not documents: {text}."
    if _correlation(orders) < _ORDER_SWAYS:
        return f"{_WARNING}The order of documents sways the teacher {teacher}: {text}."
    return f"The order of documents changes little for the teacher {teacher}: {text}."


def _correlation(orders: dict[str, Any]) -> float:
    """1 if there is none: all scores are equal, which is another problem."""
    return 1.0 if orders["correlation"] is None else float(orders["correlation"])


def _tells_apart(signal: dict[str, Any]) -> bool:
    return not (signal["queries"] >= FEW and _graded_alike(signal)) and not _by_chance(signal)


def _graded_alike(signal: dict[str, Any]) -> bool:
    return bool(signal["told_apart"] < _APART * signal["queries"])


def _by_chance(signal: dict[str, Any]) -> bool:
    """Whether source documents rank no higher than chance, by the interval's lower end."""
    wins = signal["source_wins"]
    return bool(signal["sources"] >= FEW and wins["low"] <= _CHANCE)


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
