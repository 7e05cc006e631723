"""The one order of results: float32 score descending, then doc_id descending, as trec_eval breaks ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["contenders", "ordered"]


def contenders(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions, ascending, of the ``k`` best and of all that tie with the k-th: the doc_ids choose among these."""
    import numpy as np

    n = len(scores)
    if k >= n:
        return np.arange(n)
    bar = np.partition(scores, n - k)[n - k]
    return np.flatnonzero(scores >= bar)


def ordered(scores: np.ndarray, doc_ids: Sequence[str], k: int) -> list[int]:
    """Positions of the ``k`` best, best first; equal scores by doc_id descending.

    Args:
        scores: ``(n,)`` float32.
        doc_ids: the ``n`` ids.
        k: how many; fewer come back where there are fewer.
    """
    by_id = sorted(contenders(scores, k).tolist(), key=lambda position: doc_ids[position], reverse=True)
    by_id.sort(key=lambda position: -float(scores[position]))
    return by_id[:k]
