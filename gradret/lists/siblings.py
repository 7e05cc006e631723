"""Handle the passages of one document in a training list: none is a negative beside another that is relevant.

A person judges a document, not each of its passages. To take all passages of a relevant document for positives adds
label noise (Rudra and Anand, 2103.16669), so the teacher chooses one: that which it scores best. The others are left
out of the list and of the negatives that a batch shares.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from gradret.lists.candidates import Candidate
from gradret.origins import retriever
from gradret.passage_ids import document_id, passage_ids, passage_number

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["best_judged", "siblings", "without_siblings"]


def best_judged(pool: Sequence[Candidate]) -> list[Candidate]:
    """Leave the best-scored passage of each document that the retriever ``positives`` found; without scores, the first.

    Args:
        pool: the candidates of a query, all of them passages or generated documents.
    """
    best: dict[str, Candidate] = {}
    judged = [doc for doc in pool if any(retriever(origin) == "positives" for origin in doc.ranks)]
    for doc in sorted(judged, key=_order):
        best.setdefault(document_id(doc.doc_id), doc)
    kept = {doc.doc_id for doc in best.values()}
    left_out = {doc.doc_id for doc in judged} - kept
    return [doc for doc in pool if doc.doc_id not in left_out]


def without_siblings(listed: Sequence[Candidate], relevant: Collection[str]) -> list[Candidate]:
    """Drop the passages of the list that are not relevant, but whose document has a relevant passage."""
    documents = {document_id(doc_id) for doc_id in relevant}
    return [doc for doc in listed if doc.doc_id in relevant or document_id(doc.doc_id) not in documents]


def siblings(lengths: pa.Table, doc_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return all passages of the documents to which ``doc_ids``, themselves passages, belong, by document.

    Args:
        lengths: LENGTHS, the number of passages of each document.
        doc_ids: passages; generated documents have none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array({document_id(doc_id) for doc_id in doc_ids}, pa.string())
    rows = lengths.filter(pc.is_in(lengths["doc_id"], value_set=wanted))
    names, numbers = rows["doc_id"].to_pylist(), rows["passages"].to_pylist()
    return {doc_id: passage_ids(doc_id, number) for doc_id, number in zip(names, numbers, strict=True)}


def _order(doc: Candidate) -> tuple[float, int]:
    return -doc.score if doc.score is not None else math.inf, passage_number(doc.doc_id)
