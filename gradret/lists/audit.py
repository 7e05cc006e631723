"""Count the composition of training lists and their likely false negatives: AUDIT and SUSPECTS."""

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
"""Number of suspects kept per shard, origin and band: those with the smallest pair_id, which is a hash."""

_COUNTED = ("listed", "positives", "negatives", "suspects")


class Audit:
    """Counts documents by origin and band of ranks; a document of several origins counts for each.

    A suspect is a negative that the teacher scores at least as high as the list's best positive.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._suspects: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def add_negatives(self, query_id: str, listed: Sequence[Candidate]) -> None:
        """Count a list's negatives, before the margins drop some."""
        scored = [(doc, doc.score) for doc in listed if doc.score is not None]
        best, top = max(((doc, score) for doc, score in scored if doc.positive), key=itemgetter(1), default=(None, 0.0))
        if best is None:
            return
        for doc, score in scored:
            if doc.positive:
                continue
            self._count("negatives", doc)
            if score >= top:
                self._count("suspects", doc)
                self._keep(query_id, doc, best)

    def add_list(self, listed: Sequence[Candidate]) -> None:
        """Count the documents of a final list."""
        for doc in listed:
            self._count("listed", doc)
            if doc.positive:
                self._count("positives", doc)

    def tables(self) -> dict[str, pa.Table]:
        """AUDIT and SUSPECTS."""
        import pyarrow as pa

        from gradret.store.contracts import schema

        bands: dict[tuple[str, int], dict[str, int]] = {}
        for (name, origin, rank), number in self._counts.items():
            row = bands.setdefault((origin, _band(rank)), dict.fromkeys(_COUNTED, 0))
            row[name] += number
        counts = [{"origin": origin, "first_rank": band, **bands[origin, band]} for origin, band in sorted(bands)]
        suspects = [row for key in sorted(self._suspects) for row in self._suspects[key]]
        return {
            "audit": pa.Table.from_pylist(counts, schema("audit")),
            "suspects": pa.Table.from_pylist(suspects, schema("suspects")),
        }

    def _count(self, name: str, doc: Candidate) -> None:
        for origin, rank in doc.ranks.items():
            self._counts[name, origin, rank] += 1

    def _keep(self, query_id: str, doc: Candidate, best: Candidate) -> None:
        row = {
            "pair_id": pair_id(query_id, doc.doc_id),
            "query_id": query_id,
            "doc_id": doc.doc_id,
            "positive_doc_id": best.doc_id,
            "score": doc.score,
            "positive_score": best.score,
        }
        for origin, rank in doc.ranks.items():
            key = origin, _band(rank)
            kept = [*self._suspects.get(key, []), row | {"origin": origin, "rank": rank}]
            self._suspects[key] = sorted(kept, key=lambda row: row["pair_id"])[:SAMPLED]


def _band(rank: int) -> int:
    return BANDS[bisect_right(BANDS, rank) - 1]
