"""Texts of queries and documents by id, for what shows them to a language model."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from gradret.artifacts import read_shard
from gradret.errors import ContractError
from gradret.text import passage

if TYPE_CHECKING:
    from gradret.artifacts import Artifact

__all__ = ["doc_texts", "query_texts"]


def doc_texts(artifacts: Iterable[Artifact], doc_ids: Collection[str]) -> dict[str, str]:
    """Title and text, as one, of each of ``doc_ids``.

    Args:
        artifacts: where to look; those without DOCS are passed over. Memory holds one of their shards and
            the texts found.
        doc_ids: documents that are wanted.

    Raises:
        ContractError: a document is in none of them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(set(doc_ids)), pa.string())
    found: dict[str, str] = {}
    for artifact in artifacts:
        for path in artifact.shards("docs"):
            rows = read_shard(path, "docs", ["doc_id", "title", "text"])
            rows = rows.filter(pc.is_in(rows["doc_id"], value_set=wanted))
            for row in rows.to_pylist():
                found[row["doc_id"]] = passage(row["title"], row["text"])
    missing = [doc_id for doc_id in wanted.to_pylist() if doc_id not in found]
    if missing:
        raise ContractError(
            f"DOCS: {len(missing):,} of {len(wanted):,} documents that PAIRS names are not there, {missing[0]!r} first"
        )
    return found


def query_texts(queries: Artifact) -> dict[str, str]:
    """Text of each query."""
    rows = queries.table("queries", ["query_id", "text"])
    return dict(zip(rows["query_id"].to_pylist(), rows["text"].to_pylist(), strict=True))
