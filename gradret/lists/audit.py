"""What lists are made of, and which of their negatives may be positives: AUDIT and SUSPECTS."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from gradret.lists.candidates import Candidate
from gradret.pairs import pair_id

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BANDS", "SAMPLED", "Audit"]

BANDS = (1, 6, 11, 21, 51, 101)
"""First ranks of the bands in which documents are counted."""
SAMPLED = 3
"""Suspects kept of a shard, an origin and a band: those whose pair_id, a hash, is smallest."""

_COUNTED = ("listed", "positives", "negatives", "suspects")


class Audit:
    """Counts documents by who found them and where; one that several found counts for each.

    A suspect is a document of a list that is no positive and that the teacher scores as high as the
    list's best positive, or higher.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._suspects: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def add_negatives(self, query_id: str, listed: Sequence[Candidate]) -> None:
        """Count a list's negatives, as they are before the margins leave some out."""
        scored = [(one, one.score) for one in listed if one.score is not None]
        best, top = max(((one, score) for one, score in scored if one.positive), key=itemgetter(1), default=(None, 0.0))
        if best is None:
            return
        for one, score in scored:
            if one.positive:
                continue
            self._count("negatives", one)
            if score >= top:
                self._count("suspects", one)
                self._keep(query_id, one, best)

    def add_list(self, listed: Sequence[Candidate]) -> None:
        """Count the documents of a list that is trained with."""
        for one in listed:
            self._count("listed", one)
            if one.positive:
                self._count("positives", one)

    def tables(self) -> dict[str, pa.Table]:
        """AUDIT and SUSPECTS."""
        import pyarrow as pa

        from gradret.store.contracts import schema

        bands: dict[tuple[str, int], dict[str, int]] = {}
        for (name, origin, rank), number in self._counts.items():
            row = bands.setdefault((origin, _band(rank)), dict.fromkeys(_COUNTED, 0))
            row[name] += number
        counts = [{"origin": origin, "first_rank": band, **bands[origin, band]} for origin, band in sorted(bands)]
        suspects = [row for place in sorted(self._suspects) for row in self._suspects[place]]
        return {
            "audit": pa.Table.from_pylist(counts, schema("audit")),
            "suspects": pa.Table.from_pylist(suspects, schema("suspects")),
        }

    def _count(self, name: str, one: Candidate) -> None:
        for origin, rank in one.ranks.items():
            self._counts[name, origin, rank] += 1

    def _keep(self, query_id: str, one: Candidate, best: Candidate) -> None:
        row = {
            "pair_id": pair_id(query_id, one.doc_id),
            "query_id": query_id,
            "doc_id": one.doc_id,
            "positive_doc_id": best.doc_id,
            "score": one.score,
            "positive_score": best.score,
        }
        for origin, rank in one.ranks.items():
            place = origin, _band(rank)
            kept = [*self._suspects.get(place, []), row | {"origin": origin, "rank": rank}]
            self._suspects[place] = sorted(kept, key=lambda row: row["pair_id"])[:SAMPLED]


def _band(rank: int) -> int:
    return BANDS[bisect_right(BANDS, rank) - 1]
