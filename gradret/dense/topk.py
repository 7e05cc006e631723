"""The one order of results: float32 score descending, then doc_id descending, as trec_eval breaks ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ordered", "top_ids"]


def ordered(scores: np.ndarray, doc_ids: Sequence[str], k: int) -> list[int]:
    """Positions of the ``k`` best, best first; equal scores by doc_id descending.

    Args:
        scores: ``(n,)`` float32.
        doc_ids: the ``n`` ids.
        k: how many; fewer come back where there are fewer.
    """
    import numpy as np

    n = len(scores)
    if k < n:
        # Every document that ties with the k-th must take part in breaking the tie.
        bar = np.partition(scores, n - k)[n - k]
        keep = np.flatnonzero(scores >= bar)
    else:
        keep = np.arange(n)
    by_id = sorted(keep.tolist(), key=lambda position: doc_ids[position], reverse=True)
    by_id.sort(key=lambda position: -float(scores[position]))
    return by_id[:k]


def top_ids(scores: np.ndarray, doc_ids: Sequence[str], k: int, *, positive: bool = False) -> list[str]:
    """Ids of the ``k`` best; with ``positive`` only of those that score above zero."""
    best = ordered(scores, doc_ids, k)
    return [doc_ids[position] for position in best if not positive or scores[position] > 0]
