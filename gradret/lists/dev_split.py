"""Hold out the lists of a share of the documents for the dev split: all queries of a document are on one side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradret.draw import draw
from gradret.passage_ids import document_id

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["dev_below", "dev_draw"]


def dev_below(queries: pa.Table, dev_share: float, seed: int, *, cut: bool) -> float:
    """Return the draw below which queries are held out: ``dev_share``, or more where that holds out no document.

    Args:
        queries: QUERIES.
        dev_share: share of the documents to hold out.
        seed: the config's seed.
        cut: whether documents are passages.
    """
    rows = queries.select(["query_id", "source_doc_id"]).to_pylist()
    smallest = min((dev_draw(row, seed, cut=cut) for row in rows), default=0.0)
    return max(dev_share, math.nextafter(smallest, 1))


def dev_draw(query: Mapping[str, Any], seed: int, *, cut: bool) -> float:
    """Return a number from 0 to 1, the same for all queries about a document; a person's query has one of its own."""
    source: str | None = query["source_doc_id"]
    document = document_id(source) if source and cut else source
    return draw("dev", seed, document or query["query_id"]) / 2**64
