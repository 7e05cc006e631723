"""Settings of the stage ``select``: from scored pairs to training lists."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from gradret.config.fields import at_least, list_of, require, share

__all__ = ["Rule", "Select"]


@dataclass(frozen=True)
class Rule:
    """How the documents of one retriever enter a training list."""

    origin: str
    """Name of the retriever, as in PAIRS: a second ``bm25`` is ``bm25.2``."""
    grade: float | None = None
    """Grade of its documents, 0 to 1, whether the teacher scored them or not; null uses the teacher's."""
    positive: bool | None = None
    """Whether its documents are positives; null decides as without rules."""
    limit: int = 0
    """Largest number of its documents per query, best ranks first, without those that a later rule takes; 0 sets no
    limit."""

    def __post_init__(self) -> None:
        require(
            origin="" if self.origin else "must not be empty; name a retriever of mine.retrievers",
            grade="" if self.grade is None else share(self.grade),
            limit=at_least(0, self.limit),
        )


@dataclass(frozen=True)
class Select:
    """Turn scored pairs into training lists.

    Filters apply in the order of the fields below, and the first that a query fails drops it.
    """

    unique: bool = False
    """Drop a query with the same words, ignoring case and punctuation, as a query with a smaller query_id."""
    min_words: int = 0
    """Drop queries with fewer words."""
    max_words: int = 0
    """Drop queries with more words; 0 sets no limit."""
    round_trip: int = 0
    """Keep a query only if a retriever of ``mine.retrievers`` that searches has its source document among its first
    ``round_trip``; 0 keeps all. Queries without a source document pass, here and in ``source_within``."""
    source_within: int = 0
    """Keep a query only if the teacher has its source document among its first ``source_within``; 0 keeps all."""
    score_floor: float = 0.0
    """Drop a query whose best document scores below this percentile of the scores; 0 keeps all. Percentiles, here and
    in ``low`` and ``high``, are those of the queries that the filters above keep, in the scope of ``normalise``."""
    absolute_margin: float | None = None
    """Leave out negatives whose grade is above the best positive's grade minus this; null keeps all."""
    relative_margin: float | None = None
    """Leave out negatives whose grade is above (1 - this) times the best positive's grade; null keeps all."""
    max_per_kind: int = 0
    """Keep at most this many queries of a kind, drawn by a hash of seed and query_id; 0 keeps all."""
    normalise: Literal["all", "kind", "query"] = "all"
    """The scores over which percentiles and levels are computed: all scores, those of queries of the same kind, or
    those of the query. With ``query``, a query whose scores are all equal is dropped."""
    low: float = 1.0
    """Percentile of the scores that becomes grade 0."""
    high: float = 95.0
    """Percentile of the scores that becomes grade 1."""
    grades: Literal["scaled", "as_is", "thresholds", "quantiles"] = "scaled"
    """How a score becomes a grade: ``scaled`` between the two percentiles and clipped; ``as_is``, for scores from 0
    to 1; by the number of ``thresholds`` that it reaches; or by ``quantiles``, in equally filled levels."""
    thresholds: tuple[float, ...] = ()
    """Raw scores, ascending; a score that reaches n of N thresholds gets grade n / N."""
    levels: int = 4
    """Number of different grades of ``quantiles``, evenly spaced from 0 to 1."""
    positive_from: float | None = None
    """Documents of the list with at least this grade are positives too; null turns this off."""
    positives_by: Literal["all", "teacher"] = "all"
    """Sources of positives: all, or only the teacher, by its ``positive_above`` or by ``positive_from``. With
    ``teacher``, the source document and the documents of ``positives`` are graded like any other (homogeneous
    labels). A rule's ``positive`` overrides both."""
    mix: Any = list_of(Rule)
    """Rules for which documents enter the lists, and how; if several rules match a document, the last applies.
    Positives are stored in the order of the first rule that matches them. Without rules, all scored documents enter,
    graded by the teacher; positives are the source document, the documents of ``positives``, those that score above
    the teacher's ``positive_above`` or reach ``positive_from``, and copies of all these."""
    dev_share: float = 0.03
    """Share of source documents, at least one, whose queries are held out to choose the checkpoint."""

    def __post_init__(self) -> None:
        ordered = 0 <= self.low < self.high <= 100
        rising = all(low < high for low, high in pairwise(self.thresholds))
        by_threshold = self.grades == "thresholds"
        require(
            min_words=at_least(0, self.min_words),
            max_words="" if self.max_words == 0 else at_least(max(1, self.min_words), self.max_words),
            round_trip=at_least(0, self.round_trip),
            source_within=at_least(0, self.source_within),
            score_floor="" if 0 <= self.score_floor < 100 else f"must be a percentile, got {self.score_floor}",
            absolute_margin=share(self.absolute_margin or 0.0),
            relative_margin=share(self.relative_margin or 0.0),
            positive_from="" if self.positive_from is None else share(self.positive_from),
            max_per_kind=at_least(0, self.max_per_kind),
            low="" if ordered else f"must be a percentile below select.high={self.high}, got {self.low}",
            thresholds=""
            if rising and bool(self.thresholds) == by_threshold
            else "must be ascending scores if select.grades is thresholds, and empty otherwise, got "
            f"{list(self.thresholds)}",
            levels=at_least(2, self.levels),
            dev_share="" if 0 < self.dev_share < 1 else f"must be above 0 and below 1, got {self.dev_share}",
        )
