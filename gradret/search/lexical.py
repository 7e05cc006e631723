"""BM25 scores of some documents, and their spread over the corpus, without a score of every document."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from gradret.search.moments import spread

if TYPE_CHECKING:
    import numpy as np

    from gradret.search.bm25 import Bm25Index

__all__ = ["LexicalMoments", "scores_at"]

_FREQUENT = 1 / 64
"""Share of the documents above which a term is frequent: its products with others are kept."""
_PRODUCTS = 1 << 16
"""Products kept."""


def scores_at(index: Bm25Index, terms: Sequence[str], places: np.ndarray) -> np.ndarray:
    """Return the scores of the documents at ``places``, ``(len(places),)``, float32, as ``index.scores`` has them."""
    import numpy as np

    scores = np.zeros(len(places), np.float32)
    for documents, parts in (index.postings(term) for term in terms if index.has(term)):
        found = np.searchsorted(documents, places).clip(max=len(documents) - 1)
        scores += np.where(documents[found] == places, parts[found], np.float32(0))
    return scores


class LexicalMoments:
    """Mean and standard deviation of a query's scores over the corpus.

    A document's score is the sum of its parts by term, so the mean of squares is a sum over pairs of the query's terms.
    Most documents have no rare term, and queries share frequent ones, whose products are kept: a query costs as many
    steps as its terms have documents, not as many as the corpus has.
    """

    def __init__(self, index: Bm25Index) -> None:
        import numpy as np

        self.index = index
        self.scores = np.zeros(len(index.doc_ids))
        """Zeros but while a query is computed."""
        self.multiplied = functools.lru_cache(_PRODUCTS)(self._multiplied)
        self.total = functools.lru_cache(_PRODUCTS)(self._total)

    def of(self, terms: Sequence[str]) -> tuple[float, float]:
        """Return mean and standard deviation of the query with these terms, as ``tokenize`` returns them."""
        counts = Counter(term for term in terms if self.index.has(term))
        limit = _FREQUENT * len(self.scores)
        frequent = [term for term in counts if len(self.index.postings(term)[0]) > limit]
        rare = [term for term in counts if term not in frequent]
        pairs = product(frequent, frequent)
        squares = sum(counts[one] * counts[two] * self.multiplied(*sorted((one, two))) for one, two in pairs)
        for term in rare:
            documents, parts = self.index.postings(term)
            self.scores[documents] += counts[term] * parts
        if rare:
            squares += sum(counts[term] * self._with_scores(term) for term in rare)
            squares += sum(2 * counts[term] * self._with_scores(term) for term in frequent)
        for term in rare:
            self.scores[self.index.postings(term)[0]] = 0
        sums = sum(counts[term] * self.total(term) for term in counts)
        return spread(sums / len(self.scores), squares / len(self.scores))

    def _multiplied(self, one: str, two: str) -> float:
        """The sum, over the documents, of the parts of both terms multiplied."""
        documents, parts = self.index.postings(one)
        self.scores[documents] = parts
        result = self._with_scores(two)
        self.scores[documents] = 0
        return result

    def _with_scores(self, term: str) -> float:
        documents, parts = self.index.postings(term)
        return float(parts.astype(float) @ self.scores[documents])

    def _total(self, term: str) -> float:
        return float(self.index.postings(term)[1].sum(dtype=float))
