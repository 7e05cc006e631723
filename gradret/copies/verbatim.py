"""Handle documents that repeat another one verbatim: only one of them is a candidate, and all are relevant together.

The rule of ``dedupe`` chooses the documents to write queries about. It ignores digits and punctuation, so documents
that it considers equal may state different facts. COPIES contains only those that state the same facts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.store.artifacts import Artifact

__all__ = ["SPARE", "Originals", "families", "verbatim"]

SPARE = 80
"""Extra documents that a retriever searches for, to replace copies. Tamber et al. (2502.19712) search 100 to keep
20; verified in their code."""

# NFKC maps fullwidth marks to ASCII; the others are the ideographic, Devanagari, Arabic, Khmer and Burmese marks.
_END_MARKS = " .,;:!?\u3001\u3002\u0964\u0965\u060c\u061b\u061f\u06d4\u17d4\u104a\u104b"


def verbatim(text: str) -> str:
    """Return the text with digits and punctuation, but without case, repeated spaces, and punctuation at the ends.

    A space at each end ensures that only whole words match when one text is searched for in another.
    """
    words = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    return f" {words.strip(_END_MARKS)} "


class Originals:
    """Removes copies from rankings.

    Args:
        deduped: the artifact of ``dedupe``, with COPIES; None removes nothing.
    """

    def __init__(self, deduped: Artifact | None) -> None:
        copies = deduped.table("copies", ["doc_id"])["doc_id"].to_pylist() if deduped else []
        self.copies = frozenset(copies)

    def depth(self, k: int) -> int:
        """Return how many documents to search for in order to get ``k`` that are not copies."""
        return k + min(SPARE, len(self.copies))

    def first(self, doc_ids: Iterable[str], k: int) -> list[str]:
        """Return the first ``k`` that are not copies."""
        return list(islice((doc_id for doc_id in doc_ids if doc_id not in self.copies), k))


def families(copies: pa.Table, doc_ids: pa.ChunkedArray) -> dict[str, list[str]]:
    """Return all documents with the same text, for each of ``doc_ids``, itself included; omit documents without copies.

    Args:
        copies: ``doc_id`` and ``kept_doc_id`` of COPIES, in this order.
        doc_ids: the documents to look up.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = copies.filter(pc.is_in(copies["doc_id"], value_set=doc_ids))
    kept = dict(zip(rows["doc_id"].to_pylist(), rows["kept_doc_id"].to_pylist(), strict=True))
    roots = pa.chunked_array([*doc_ids.chunks, *rows["kept_doc_id"].chunks], pa.string())
    members = copies.filter(pc.is_in(copies["kept_doc_id"], value_set=roots))
    by_root: dict[str, list[str]] = {}
    for doc_id, root in zip(members["doc_id"].to_pylist(), members["kept_doc_id"].to_pylist(), strict=True):
        by_root.setdefault(root, [root]).append(doc_id)
    return by_root | {doc_id: by_root[root] for doc_id, root in kept.items()}
