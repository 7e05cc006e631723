"""Choose and order the documents of a query's training list among its candidates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.select import Rule, Select

__all__ = ["Candidate", "in_order", "mixed", "pools", "within_margins"]


@dataclass(slots=True)
class Candidate:
    """A document retrieved for a query, and its role in the query's list."""

    doc_id: str
    score: float | None
    """The teacher's score; None if there is none."""
    ranks: dict[str, int]
    """Rank of the document by origin."""
    rule: Rule | None = None
    """The rule that chose it; None without rules."""
    grade: float | None = None
    positive: bool = False


def pools(pairs: pa.Table, labels: pa.Table) -> Iterator[tuple[str, list[Candidate]]]:
    """The candidates of each query_id of a shard, in stored order."""
    scores = dict(zip(labels["pair_id"].to_pylist(), labels["score"].to_pylist(), strict=True))
    names = ("query_id", "doc_id", "pair_id", "origins", "ranks")
    rows = zip(*(pairs[name].to_pylist() for name in names), strict=True)
    for query_id, group in groupby(rows, key=lambda row: row[0]):
        yield (
            query_id,
            [
                Candidate(doc_id, scores.get(pair_id), dict(zip(origins, ranks, strict=True)))
                for _, doc_id, pair_id, origins, ranks in group
            ],
        )


def mixed(pool: Sequence[Candidate], rules: Sequence[Rule]) -> list[Candidate]:
    """Choose the candidates for the list and set their rules; without rules, choose all that have a score.

    The last rule chooses first: the best ranks of its origin, up to its limit. Earlier rules choose among the rest.

    Source: in SyCL (2503.23239) the grade of a document from several sources is that of the source listed last
    (verified in its code, Trove); limits are gradret's addition.
    """
    if not rules:
        return [doc for doc in pool if doc.score is not None]
    for rule in reversed(rules):
        free = [
            doc
            for doc in pool
            if rule.origin in doc.ranks and doc.rule is None and (doc.score is not None or rule.grade is not None)
        ]
        free.sort(key=lambda doc: (doc.ranks[rule.origin], doc.doc_id))
        for doc in free[: rule.limit or None]:
            doc.rule = rule
    return [doc for doc in pool if doc.rule]


def in_order(listed: Sequence[Candidate], rules: Sequence[Rule]) -> list[Candidate]:
    """Sort positives first, then by the first rule that matches the document's origins, then by score, descending."""

    def _key(doc: Candidate) -> tuple[bool, int, float, int, str]:
        position = next((position for position, rule in enumerate(rules) if rule.origin in doc.ranks), 0)
        if doc.score is None:
            return not doc.positive, position, math.inf, min(doc.ranks.values()), doc.doc_id
        return not doc.positive, position, -doc.score, 0, doc.doc_id

    return sorted(listed, key=_key)


def within_margins(listed: Sequence[Candidate], settings: Select) -> list[Candidate]:
    """Drop negatives whose grade is too close to the best positive's grade (positive-aware mining).

    The names follow sentence-transformers' ``mine_hard_negatives``, which compares scores, and uses the worst of
    several positives; NV-Retriever (2407.15831), not read again, calls them TopK-MarginPos and TopK-PercPos.
    """
    best = max((doc.grade or 0.0 for doc in listed if doc.positive), default=math.inf)
    limit = best - (settings.absolute_margin or 0.0) if settings.absolute_margin is not None else math.inf
    if settings.relative_margin is not None:
        limit = min(limit, best * (1 - settings.relative_margin))
    return [doc for doc in listed if doc.positive or (doc.grade or 0.0) <= limit]
