"""Tell from a teacher's scores alone whether it tells the documents of a query apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradret.stats.significance import Mean, mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]

__all__ = ["Scored", "Signal", "signal"]


@dataclass(frozen=True)
class Scored:
    """The scored documents of a query."""

    scores: Scores
    """Score of each document."""
    ranks: Sequence[int]
    """Best rank that a retriever gave each document, from 1."""
    source: int | None
    """Place of the document that the query was generated from; None if it has none or was not scored."""


@dataclass(frozen=True)
class Signal:
    """How a teacher's scores differ within the queries that have at least two scored documents."""

    queries: int
    """Number of these queries."""
    told_apart: int
    """Queries whose highest and lowest scores differ by half a grade or more; or at all, without grades."""
    spread: float
    """Mean over the queries of the standard deviation of their scores."""
    grades: dict[str, int]
    """Number of documents by rounded grade, as a multiple of ``step``; empty if the teacher has no grades."""
    entropy: float | None
    """Entropy of these numbers, in bits: 0 if all have one grade."""
    rank_correlation: float | None
    """Mean over the queries of Spearman's correlation between score and retriever's rank, positive if they agree; None
    if no query is told apart."""
    sources: int
    """Queries whose source document was scored."""
    source_wins: Mean | None
    """Mean share of a query's other documents that score below its source document, ties counted half, with the 95%
    bootstrap interval: 0.5 is chance."""


def signal(queries: Iterable[Scored], step: float, seed: int) -> Signal:
    """Summarise the scores of all queries.

    Args:
        queries: the scored documents of each query; those with fewer than two are left out.
        step: difference of neighbouring grades in scores; 0 if the teacher has no grades.
        seed: of the bootstrap.
    """
    import numpy as np

    spreads: list[float] = []
    correlations: list[float] = []
    wins: list[float] = []
    apart, grades = 0, dict[int, int]()
    for query in queries:
        if len(query.scores) < 2:
            continue
        spreads.append(float(np.std(query.scores)))
        apart += float(np.ptp(query.scores)) >= (step / 2 or float(np.finfo(np.float32).eps))
        for grade in np.floor(query.scores / step + 0.5).astype(int).tolist() if step else ():
            grades[grade] = grades.get(grade, 0) + 1
        correlations += _rank_correlation(query)
        wins += _wins(query)
    return Signal(
        queries=len(spreads),
        told_apart=apart,
        spread=float(np.mean(spreads)) if spreads else 0.0,
        grades={str(grade): grades[grade] for grade in sorted(grades)},
        entropy=_entropy(list(grades.values())) if grades else None,
        rank_correlation=float(np.mean(correlations)) if correlations else None,
        sources=len(wins),
        source_wins=mean(np.array(wins), seed) if wins else None,
    )


def _entropy(counts: list[int]) -> float:
    import numpy as np

    shares = np.array(counts) / sum(counts)
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def _rank_correlation(query: Scored) -> list[float]:
    import numpy as np
    from scipy.stats import spearmanr

    if not np.ptp(query.scores) or not np.ptp(query.ranks):
        return []
    return [-float(spearmanr(query.scores, query.ranks).statistic)]


def _wins(query: Scored) -> list[float]:
    import numpy as np

    if query.source is None:
        return []
    source, others = query.scores[query.source], np.delete(query.scores, query.source)
    return [float(np.mean(others < source) + np.mean(others == source) / 2)]
