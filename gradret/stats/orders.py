"""Tell whether a teacher grades documents or their places: compare its scores in two presentation orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Orders", "both_orders"]


@dataclass(frozen=True)
class Orders:
    """How the scores of the same documents in two presentation orders agree."""

    queries: int
    """Number of queries with at least two documents that were scored in both orders."""
    correlation: float | None
    """Pearson's correlation of the two scores of each document, both minus their query's mean: 1 if the order changes
    nothing, 0 if it decides. None if one order's scores differ in no query."""


def both_orders(queries: Iterable[tuple[Sequence[float], Sequence[float]]]) -> Orders:
    """Compare both orders' scores of each query's documents, which are given in the same sequence."""
    import numpy as np

    scores = [np.array(each, float) for each in queries if len(each[0]) > 1]
    if not scores:
        return Orders(0, None)
    one, other = np.concatenate([each - each.mean(axis=1, keepdims=True) for each in scores], axis=1)
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return Orders(len(scores), float(one @ other) / scale if scale else None)
