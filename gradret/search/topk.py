"""Order results by float32 score, then doc_id, both descending, as trec_eval breaks ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["contenders", "ordered"]


def contenders(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the positions, ascending, of the ``k`` best scores and of all that tie with the k-th."""
    import numpy as np

    n = len(scores)
    if k >= n:
        return np.arange(n)
    threshold = np.partition(scores, n - k)[n - k]
    return np.flatnonzero(scores >= threshold)


def ordered(scores: np.ndarray, doc_ids: Sequence[str], k: int) -> list[int]:
    """Return the positions of the ``k`` best, best first; equal scores by doc_id descending.

    Args:
        scores: ``(n,)`` float32.
        doc_ids: the ``n`` ids.
        k: number of results; fewer if there are fewer scores.
    """
    by_id = sorted(contenders(scores, k).tolist(), key=lambda position: doc_ids[position], reverse=True)
    by_id.sort(key=lambda position: -float(scores[position]))
    return by_id[:k]
