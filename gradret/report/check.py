"""Format the teacher check as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradret.stages.check import MEASURE, CheckResult
from gradret.stages.verdict import check_result, orders_sentence, sentence
from gradret.stats.significance import p_text

if TYPE_CHECKING:
    from gradret.store.artifacts import Artifact

__all__ = ["terminal_text"]


def terminal_text(artifact: Artifact) -> str:
    """The numbers in a small table, and the verdict."""
    result = check_result(artifact)
    if not result:
        return sentence(artifact)
    rows = [
        (f"retriever {result.retriever}", f"{result.retriever_ndcg:.4f}", ""),
        (f"teacher {result.teacher}", f"{result.teacher_ndcg:.4f}", ""),
        ("difference", f"{result.difference:+.4f}", f"{_interval(result)}{p_text(result.p)}"),
    ]
    numbers = {"kappa": result.kappa, "Kendall's tau-b": result.kendall_tau, "Spearman": result.spearman}
    pairs = f"on {result.judged_pairs:,} pairs with a human grade"
    rows += [(name, f"{value:.4f}", pairs) for name, value in numbers.items() if value is not None]
    if result.unscored:
        rows.append(("without a score", f"{result.unscored:,}", "pairs, left out of the teacher's ranking"))
    head = f"{result.queries:,} queries"
    width = max(len(name) for name, *_ in [(head,), *rows])
    lines = [f"{name:<{width}}  {number:>8}  {more}".rstrip() for name, number, more in [(head, MEASURE, ""), *rows]]
    told = filter(None, (sentence(artifact), orders_sentence(artifact, result.teacher)))
    return "\n".join([*lines, "", *told])


def _interval(result: CheckResult) -> str:
    return "" if result.low is None else f"95% {result.low:+.4f} to {result.high:+.4f}, "
