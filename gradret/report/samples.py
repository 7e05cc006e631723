"""Choose examples for the report: training lists, quarantined rows, and the texts of what is shown.

Ids are chosen first; the texts of these few documents are then looked up in one pass over the shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradret.store.artifacts import Artifact

__all__ = [
    "ShownDoc",
    "TrainingList",
    "documents",
    "matching",
    "quarantined",
    "query_texts",
    "training_lists",
]

_KINDS = 8
_LISTS = 2
_LISTED = 6
_QUARANTINED = 10


@dataclass(frozen=True)
class ShownDoc:
    """A document in a list, with its grade, if any, and whether it counts as relevant."""

    doc_id: str
    grade: float | None
    relevant: bool


@dataclass(frozen=True)
class TrainingList:
    """A training query and the documents of its list with the highest grades."""

    query_id: str
    text: str
    length: int
    documents: list[ShownDoc]


def training_lists(artifacts: Mapping[str, Artifact]) -> dict[str, list[TrainingList]]:
    """A few training lists of each kind of query, no two written from the same document."""
    if "select" not in artifacts:
        return {}
    rows = _first_of_each_kind(artifacts["select"])
    sources = [artifacts[name] for name in ("generate", "queries") if name in artifacts]
    wording = query_texts(sources, {row["query_id"] for of_kind in rows.values() for row in of_kind})
    return {
        kind: [_training_list(row, wording.get(row["query_id"], "")) for row in of_kind]
        for kind, of_kind in rows.items()
    }


def documents(ingested: Artifact | None, wanted: set[str]) -> dict[str, dict[str, str]]:
    """Title and text of the wanted documents, by doc_id."""
    if ingested is None or not wanted:
        return {}
    return {row["doc_id"]: row for row in matching(ingested, "docs", "doc_id", wanted)}


def quarantined(artifact: Artifact) -> list[dict[str, str]]:
    """The first quarantined rows of a stage."""
    rows: list[dict[str, str]] = []
    for table in artifact.batches("quarantine"):
        rows += table.slice(0, _QUARANTINED - len(rows)).to_pylist()
        if len(rows) >= _QUARANTINED:
            break
    return rows


def matching(artifact: Artifact, table: str, column: str, wanted: set[str]) -> Iterator[dict[str, Any]]:
    """Rows of ``table`` whose ``column`` is in ``wanted``; reads one shard at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pa.array(sorted(wanted), pa.string())
    for batch in artifact.batches(table):
        yield from batch.filter(pc.is_in(batch[column], values)).to_pylist()


def query_texts(sources: list[Artifact], wanted: set[str]) -> dict[str, str]:
    """The texts of the wanted queries, by query_id."""
    rows = (row for source in sources for row in matching(source, "queries", "query_id", wanted))
    return {row["query_id"]: row["text"] for row in rows}


def _first_of_each_kind(selected: Artifact) -> dict[str, list[dict[str, Any]]]:
    """The first groups of each kind, by kind."""
    first: dict[str, list[dict[str, Any]]] = {}
    written_from: set[str] = set()
    for table in selected.batches("groups"):
        columns = (table[name].to_pylist() for name in ("kind", "source_doc_id"))
        for number, (kind, source) in enumerate(zip(*columns, strict=True)):
            rows = first.setdefault(kind or "human", [])
            if len(rows) < _LISTS and source not in written_from:
                rows += table.slice(number, 1).to_pylist()
                written_from |= {source} - {None}
    return dict(list(first.items())[:_KINDS])


def _training_list(row: Mapping[str, Any], text: str) -> TrainingList:
    shown = [ShownDoc(*fields) for fields in zip(row["doc_ids"], row["grades"], row["positives"], strict=True)]
    # Highest grades first, documents without a grade last.
    shown.sort(key=lambda doc: (doc.grade is None, -(doc.grade or 0.0)))
    return TrainingList(row["query_id"], text, len(shown), shown[:_LISTED])
