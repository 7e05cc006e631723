"""Look up texts by id, one shard at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from gradret.errors import ContractError
from gradret.store.artifacts import read_shard
from gradret.text import passage

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.store.artifacts import Artifact

__all__ = ["doc_texts", "query_rows", "query_texts"]


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
    _refuse_missing("DOCS", "documents", wanted, found)
    return found


def query_rows(queries: Artifact, query_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """The row of QUERIES of each of ``query_ids``. Memory holds one shard and the rows found.

    Raises:
        ContractError: a query is not there.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(set(query_ids)), pa.string())
    found: dict[str, dict[str, Any]] = {}
    for rows in queries.batches("queries"):
        found |= {row["query_id"]: row for row in rows.filter(pc.is_in(rows["query_id"], value_set=wanted)).to_pylist()}
    _refuse_missing("QUERIES", "queries", wanted, found)
    return found


def query_texts(queries: Artifact, query_ids: Collection[str]) -> dict[str, str]:
    """Text of each of ``query_ids``, likewise."""
    return {query_id: row["text"] for query_id, row in query_rows(queries, query_ids).items()}


def _refuse_missing(table: str, what: str, wanted: pa.Array, found: Collection[str]) -> None:
    missing = [each for each in wanted.to_pylist() if each not in found]
    if missing:
        raise ContractError(
            f"{table}: {len(missing):,} of {len(wanted):,} {what} that PAIRS names are not there, {missing[0]!r} first"
        )
