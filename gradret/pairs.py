"""Name pairs of a query and a document, and turn a teacher's scores of a shard of pairs into LABELS."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gradret.store.results import Quarantined, Result

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["labels", "pair_id"]


def pair_id(query_id: str, doc_id: str) -> str:
    """Return a hash that identifies the pair."""
    return hashlib.sha1(f"{query_id}\0{doc_id}".encode(), usedforsecurity=False).hexdigest()[:16]


def labels(pairs: pa.Table, scores: Sequence[float | Quarantined], source: str) -> Result:
    """Return LABELS for the pairs with a finite score, and quarantine the others as ``QUERY_ID DOC_ID``.

    Args:
        pairs: a shard of PAIRS.
        scores: the score of each pair, or a ``Quarantined`` with the reason; its ``where`` is filled in here.
        source: the teacher's name.
    """
    import pyarrow as pa

    from gradret.store.contracts import schema

    rows, bad = [], []
    for pair, score in zip(pairs.select(["pair_id", "query_id", "doc_id"]).to_pylist(), scores, strict=True):
        where = f"{pair['query_id']} {pair['doc_id']}"
        if isinstance(score, Quarantined):
            bad.append(replace(score, where=where))
        elif not math.isfinite(score):
            reason = "the teacher has no score for it" if math.isnan(score) else "score is not finite"
            bad.append(Quarantined(where, reason, str(score)))
        else:
            rows.append(pair | {"source": source, "score": score})
    return Result({"labels": pa.Table.from_pylist(rows, schema("labels"))}, pairs.num_rows, len(rows), bad)
