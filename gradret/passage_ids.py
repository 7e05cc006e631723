"""Name the passages of a document ``DOC#0``, ``DOC#1``, ..., as Anserini's segmented collections do.

The document's id is what precedes the last ``#``, so it may contain ``#`` itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradret.store.contracts import GENERATED

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["document_id", "document_ids", "passage_ids", "passage_number"]


def passage_ids(doc_id: str, number: int) -> list[str]:
    """Return the ids of the document's passages, in order."""
    return [f"{doc_id}#{place}" for place in range(number)]


def document_id(passage_id: str) -> str:
    """Return the id of the passage's document; a generated document is not cut and keeps its id."""
    return passage_id if passage_id.startswith(GENERATED) else passage_id.rpartition("#")[0]


def passage_number(passage_id: str) -> int:
    """Return the passage's place in its document, from 0."""
    return int(passage_id.rpartition("#")[2])


def document_ids(passage_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the id of each passage's document; none of them may be generated."""
    import pyarrow.compute as pc

    return pc.replace_substring_regex(passage_ids, r"#\d+$", "")
