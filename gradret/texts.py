"""Look up texts by id, one shard at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gradret.errors import ContractError
from gradret.store.artifacts import read_shard
from gradret.text import passage

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.store.artifacts import Artifact

__all__ = ["PASSAGES", "doc_texts", "query_rows", "query_texts"]

PASSAGES = "passages"
"""Stage that makes texts for look-ups, and its folder of Arrow files of ``doc_id`` and ``text``, a passage."""


def doc_texts(artifacts: Iterable[Artifact], doc_ids: Collection[str]) -> dict[str, str]:
    """Return the passage, title and text, of each of ``doc_ids``.

    Args:
        artifacts: artifacts to search; those without documents are skipped. Memory holds one of their shards and
            the texts found; passages are mapped, so that others than those found are not read.
        doc_ids: the documents.

    Raises:
        ContractError: a document is in none of them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(set(doc_ids)), pa.string())
    texts: dict[str, str] = {}
    for artifact in artifacts:
        for rows in _documents(artifact):
            for row in rows.filter(pc.is_in(rows["doc_id"], value_set=wanted)).to_pylist():
                texts[row["doc_id"]] = passage(row.get("title"), row["text"])
    _require_all("DOCS", "documents", wanted, texts)
    return texts


def _documents(artifact: Artifact) -> Iterator[pa.Table]:
    """Yield the artifact's documents: mapped passages if it has them, else the shards of DOCS."""
    import pyarrow as pa

    if artifact.stage == PASSAGES:
        for path in sorted(artifact.file(PASSAGES).iterdir()):
            yield pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    else:
        for path in artifact.shards("docs"):
            yield read_shard(path, "docs", ["doc_id", "title", "text"])


def query_rows(queries: Artifact, query_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the row of QUERIES of each of ``query_ids``. Memory holds one shard and the rows found.

    Raises:
        ContractError: a query is missing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(sorted(set(query_ids)), pa.string())
    by_id: dict[str, dict[str, Any]] = {}
    for rows in queries.batches("queries"):
        by_id |= {row["query_id"]: row for row in rows.filter(pc.is_in(rows["query_id"], value_set=wanted)).to_pylist()}
    _require_all("QUERIES", "queries", wanted, by_id)
    return by_id


def query_texts(queries: Artifact, query_ids: Collection[str]) -> dict[str, str]:
    """Return the text of each of ``query_ids``; like ``query_rows``."""
    return {query_id: row["text"] for query_id, row in query_rows(queries, query_ids).items()}


def _require_all(table: str, what: str, wanted: pa.Array, found: Collection[str]) -> None:
    missing = [each for each in wanted.to_pylist() if each not in found]
    if missing:
        raise ContractError(
            f"{table}: {len(missing):,} of the {len(wanted):,} {what} in PAIRS are missing, the first is {missing[0]!r}"
        )
