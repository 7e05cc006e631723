"""The teacher check as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradret.stages.check import MEASURE, Checked
from gradret.stages.verdict import checked, sentence
from gradret.stats.significance import p_text

if TYPE_CHECKING:
    from gradret.store.artifacts import Artifact

__all__ = ["terminal_text"]


def terminal_text(artifact: Artifact) -> str:
    """A small table and the verdict."""
    found = checked(artifact)
    if not found:
        return sentence(artifact)
    rows = [
        (f"retriever {found.retriever}", f"{found.retriever_ndcg:.4f}", ""),
        (f"teacher {found.teacher}", f"{found.teacher_ndcg:.4f}", ""),
        ("difference", f"{found.difference:+.4f}", f"{_interval(found)}{p_text(found.p)}"),
    ]
    numbers = {"kappa": found.kappa, "Kendall's tau-b": found.kendall_tau, "Spearman": found.spearman}
    pairs = f"on {found.judged_pairs:,} pairs with a human grade"
    rows += [(name, f"{value:.4f}", pairs) for name, value in numbers.items() if value is not None]
    if found.unscored:
        rows.append(("without a score", f"{found.unscored:,}", "pairs, which the teacher's order lacks"))
    head = f"{found.queries:,} queries"
    width = max(len(name) for name, *_ in [(head,), *rows])
    lines = [f"{name:<{width}}  {number:>8}  {more}".rstrip() for name, number, more in [(head, MEASURE, ""), *rows]]
    return "\n".join([*lines, "", sentence(artifact)])


def _interval(found: Checked) -> str:
    return "" if found.low is None else f"95% {found.low:+.4f} to {found.high:+.4f}, "
