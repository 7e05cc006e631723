"""Filters that decide which queries are used for training; each returns the reason why a query fails it.

Sources: Tamber et al. (2502.19712) keep a query whose source document a retriever has among its first
20 (``round_trip``) and the teacher first of at least 20 (``source_within``), both verified in their code.
Dropping a query whose best document scores below the 25th percentile of the scores of the queries that
pass those two (``score_floor``) is in their code only, not in the paper.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradret.lists.candidates import Candidate
from gradret.text import words

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.select import Select

__all__ = ["Seen", "failed", "filters_before_scores", "reasons", "repeated"]


@dataclass(frozen=True)
class Seen:
    """The input of the filters for a query."""

    text: str
    source_doc_id: str | None
    pool: Sequence[Candidate]
    repeats: str | None
    """query_id of a query with the same words and a smaller query_id, if any."""
    floor: float
    """The score at percentile ``score_floor``; minus infinity while it is not known."""
    searching: frozenset[str] = frozenset()
    """Origins that search."""


def reasons(settings: Select) -> dict[str, str]:
    """The reason for which each filter drops queries, in the order of the filters."""
    listed = "accepted by a rule" if settings.mix else "scored"
    return {
        "candidates": f"no document {listed}",
        "unique": "the words of a query with a smaller query_id",
        "min_words": f"fewer than {settings.min_words} words",
        "max_words": f"more than {settings.max_words} words",
        "round_trip": f"source document not in a retriever's first {settings.round_trip}",
        "source_within": f"source document not in the teacher's first {settings.source_within}",
        "score_floor": f"best document below percentile {settings.score_floor:g} of the scores",
        "normalise": "all scores of the query (nearly) the same",
        "max_per_kind": f"over {settings.max_per_kind:,} queries of the kind",
    }


def failed(settings: Select, seen: Seen) -> tuple[str, str] | None:
    """The first filter that the query fails, with a detail; None if it passes all."""
    for name, fails in _FILTERS.items():
        if getattr(settings, name) and (detail := fails(settings, seen)):
            return name, detail
    return None


def filters_before_scores(settings: Select) -> bool:
    """Whether a filter other than ``score_floor`` is set, so that the scores of some queries do not count."""
    return any(getattr(settings, name) for name in _FILTERS if name != "score_floor")


def repeated(queries: pa.Table) -> pa.Table:
    """Find queries with the same words as a query with a smaller query_id, ``of``: rows of ``query_id`` and ``of``.

    Args:
        queries: QUERIES, sorted by query_id.
    """
    import numpy as np
    import pyarrow as pa

    keys = np.fromiter((_key(text.as_py()) for text in queries["text"]), np.uint64, queries.num_rows)
    _, firsts, groups = np.unique(keys, return_index=True, return_inverse=True)
    earlier = firsts[groups]
    later = np.flatnonzero(earlier < np.arange(queries.num_rows))
    query_ids = queries["query_id"]
    return pa.table({"query_id": query_ids.take(pa.array(later)), "of": query_ids.take(pa.array(earlier[later]))})


def _key(text: str) -> int:
    """A hash of the text's words."""
    return int.from_bytes(hashlib.blake2b(" ".join(words(text)).encode(), digest_size=8).digest(), "big")


def _unique(_: Select, seen: Seen) -> str:
    return f"same words as {seen.repeats}" if seen.repeats else ""


def _min_words(settings: Select, seen: Seen) -> str:
    number = len(words(seen.text))
    return f"{number} words" if number < settings.min_words else ""


def _max_words(settings: Select, seen: Seen) -> str:
    number = len(words(seen.text))
    return f"{number} words" if number > settings.max_words else ""


def _round_trip(settings: Select, seen: Seen) -> str:
    if not seen.source_doc_id:
        return ""
    source = next((doc for doc in seen.pool if doc.doc_id == seen.source_doc_id), None)
    ranks = [rank for origin, rank in source.ranks.items() if origin in seen.searching] if source else []
    if ranks and min(ranks) <= settings.round_trip:
        return ""
    return f"rank {min(ranks, default=None)}"


def _source_within(settings: Select, seen: Seen) -> str:
    if not seen.source_doc_id:
        return ""
    scored = [(-doc.score, doc.doc_id) for doc in seen.pool if doc.score is not None]
    ranked = [doc_id for _, doc_id in sorted(scored)]
    rank = ranked.index(seen.source_doc_id) + 1 if seen.source_doc_id in ranked else None
    return "" if rank and rank <= settings.source_within else f"rank {rank}"


def _score_floor(_: Select, seen: Seen) -> str:
    best = max((doc.score for doc in seen.pool if doc.score is not None), default=None)
    return "" if best is not None and best >= seen.floor else f"best score {best}"


_FILTERS: dict[str, Callable[[Select, Seen], str]] = {
    "unique": _unique,
    "min_words": _min_words,
    "max_words": _max_words,
    "round_trip": _round_trip,
    "source_within": _source_within,
    "score_floor": _score_floor,
}
