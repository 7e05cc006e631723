"""Choose examples for the report: training lists, and the queries with the largest gains and losses.

Ids are chosen first; the texts of these few documents are then looked up in one pass over the shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.stats.significance import Results
    from gradret.store.artifacts import Artifact

__all__ = [
    "Change",
    "ShownDoc",
    "TrainingList",
    "changes",
    "documents",
    "matching",
    "quarantined",
    "training_lists",
]

_CHANGES = 5
_TOP = 3
_LISTS = 3
_LISTED = 6
_QUARANTINED = 10


@dataclass(frozen=True)
class ShownDoc:
    """A document in a list, with its grade, if any, and whether it counts as relevant."""

    doc_id: str
    grade: float | None
    relevant: bool


@dataclass(frozen=True)
class Change:
    """A test query, its measure with base and tuned, and the first documents of both."""

    query_id: str
    text: str
    before: float
    after: float
    top_before: list[ShownDoc]
    top_after: list[ShownDoc]


@dataclass(frozen=True)
class TrainingList:
    """A training query and the documents of its list with the highest grades."""

    query_id: str
    text: str
    kind: str
    length: int
    documents: list[ShownDoc]


def changes(results: Results, artifacts: Mapping[str, Artifact], measure: str) -> tuple[list[Change], list[Change]]:
    """Queries with the largest gain in ``measure`` from base to tuned, and those with the largest loss."""
    if not {"base", "tuned"} <= results.values.keys() or "queries" not in artifacts:
        return [], []
    before, after = (results.values[system][measure].tolist() for system in ("base", "tuned"))
    ranked = sorted(
        (b - a, query_id, b, a) for query_id, b, a in zip(results.query_ids, before, after, strict=True) if a != b
    )
    gained, lost = [row for row in ranked if row[0] < 0][:_CHANGES], [row for row in ranked if row[0] > 0][-_CHANGES:]
    wanted = {query_id for _, query_id, _, _ in gained + lost}
    texts = _texts([artifacts["queries"]], wanted)
    grades = _judgments(artifacts["queries"], wanted)
    tops = {system: _tops(artifacts.get(f"search.{system}"), wanted, grades) for system in ("base", "tuned")}

    def _change(query_id: str, b: float, a: float) -> Change:
        top_before, top_after = (tops[system].get(query_id, []) for system in ("base", "tuned"))
        return Change(query_id, texts.get(query_id, ""), b, a, top_before, top_after)

    return [_change(*row[1:]) for row in gained], [_change(*row[1:]) for row in reversed(lost)]


def training_lists(artifacts: Mapping[str, Artifact]) -> list[TrainingList]:
    """A few training lists, of different kinds of queries if there are several."""
    if "select" not in artifacts:
        return []
    rows: dict[str, dict[str, Any]] = {}
    for table in artifacts["select"].batches("groups"):
        for row in _first_of_each_kind(table):
            if len(rows) < _LISTS:
                rows.setdefault(row["kind"] or "", row)
    sources = [artifacts[name] for name in ("generate", "queries") if name in artifacts]
    texts = _texts(sources, {row["query_id"] for row in rows.values()})
    return [_training_list(row, texts.get(row["query_id"], "")) for row in rows.values()]


def documents(ingested: Artifact | None, shown: Iterable[ShownDoc]) -> dict[str, dict[str, str]]:
    """Title and text of the shown documents, by doc_id."""
    wanted = {doc.doc_id for doc in shown}
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


def _texts(sources: list[Artifact], wanted: set[str]) -> dict[str, str]:
    rows = (row for source in sources for row in matching(source, "queries", "query_id", wanted))
    return {row["query_id"]: row["text"] for row in rows}


def _judgments(queries: Artifact, wanted: set[str]) -> dict[tuple[str, str], int]:
    rows = matching(queries, "qrels", "query_id", wanted)
    return {(row["query_id"], row["doc_id"]): row["relevance"] for row in rows if row["split"] == "test"}


def _tops(run: Artifact | None, wanted: set[str], grades: Mapping[tuple[str, str], int]) -> dict[str, list[ShownDoc]]:
    """The first documents of each wanted query."""
    rows = [] if run is None else [row for row in matching(run, "run", "query_id", wanted) if row["rank"] <= _TOP]
    tops: dict[str, list[ShownDoc]] = {}
    for row in sorted(rows, key=lambda row: (row["query_id"], row["rank"])):
        grade = grades.get((row["query_id"], row["doc_id"]))
        tops.setdefault(row["query_id"], []).append(ShownDoc(row["doc_id"], grade, grade is not None and grade > 0))
    return tops


def _first_of_each_kind(table: pa.Table) -> list[dict[str, Any]]:
    """The first group of each kind in a shard."""
    firsts: dict[str | None, int] = {}
    for number, kind in enumerate(table["kind"].to_pylist()):
        firsts.setdefault(kind, number)
    return [row for number in firsts.values() for row in table.slice(number, 1).to_pylist()]


def _training_list(row: Mapping[str, Any], text: str) -> TrainingList:
    shown = [ShownDoc(*fields) for fields in zip(row["doc_ids"], row["grades"], row["positives"], strict=True)]
    # Highest grades first, documents without a grade last.
    shown.sort(key=lambda doc: (doc.grade is None, -(doc.grade or 0.0)))
    return TrainingList(row["query_id"], text, row["kind"] or "human", len(shown), shown[:_LISTED])
