"""A query's candidates, and which of them make its training list."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Rule, Select

__all__ = ["Candidate", "in_order", "mixed", "pools", "within_margins"]


@dataclass(slots=True)
class Candidate:
    """A document that was found for a query, and what it becomes in the query's list."""

    doc_id: str
    score: float | None
    """The teacher's; None where it gave none."""
    ranks: dict[str, int]
    """By origin: who found it at which rank."""
    rule: Rule | None = None
    """Which took it; None without rules."""
    grade: float | None = None
    positive: bool = False


def pools(pairs: pa.Table, labels: pa.Table) -> Iterator[tuple[str, list[Candidate]]]:
    """Each query_id of a shard and its candidates, in stored order."""
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
    """The candidates that go into the list, each with its rule; without rules all that have a score.

    The last rule takes first: of its origin's documents the best ranks, up to its limit. What it leaves is
    for the rules before it.

    Source: in SyCL (2503.23239) a document of several sources has its grade from the source listed last
    (verified in its code, Trove); limits are ours.
    """
    if not rules:
        return [one for one in pool if one.score is not None]
    for rule in reversed(rules):
        free = [
            one
            for one in pool
            if rule.origin in one.ranks and one.rule is None and (one.score is not None or rule.grade is not None)
        ]
        free.sort(key=lambda one: (one.ranks[rule.origin], one.doc_id))
        for one in free[: rule.limit or None]:
            one.rule = rule
    return [one for one in pool if one.rule]


def in_order(listed: Sequence[Candidate], rules: Sequence[Rule]) -> list[Candidate]:
    """Positives first, then by the first rule that names the document's origin, then best scores first."""

    def _key(one: Candidate) -> tuple[bool, int, float, int, str]:
        place = next((place for place, rule in enumerate(rules) if rule.origin in one.ranks), 0)
        if one.score is None:
            return not one.positive, place, math.inf, min(one.ranks.values()), one.doc_id
        return not one.positive, place, -one.score, 0, one.doc_id

    return sorted(listed, key=_key)


def within_margins(listed: Sequence[Candidate], settings: Select) -> list[Candidate]:
    """Without the documents, other than positives, whose grade comes too near the best positive's.

    Positive-aware mining. The names are those of sentence-transformers' ``mine_hard_negatives``, which
    compares scores, and of several positives takes the worst; NV-Retriever (2407.15831), not read again,
    has both as TopK-MarginPos and TopK-PercPos.
    """
    best = max((one.grade or 0.0 for one in listed if one.positive), default=math.inf)
    limit = best - (settings.absolute_margin or 0.0) if settings.absolute_margin is not None else math.inf
    if settings.relative_margin is not None:
        limit = min(limit, best * (1 - settings.relative_margin))
    return [one for one in listed if one.positive or (one.grade or 0.0) <= limit]
