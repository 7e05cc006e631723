"""List the test queries with their values before and after training, and the documents behind them.

Ids are chosen first; only rows of these queries are then read from the runs, one shard at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.report.samples import ShownDoc, matching, query_texts

if TYPE_CHECKING:
    from gradret.stats.significance import Results
    from gradret.store.artifacts import Artifact

__all__ = ["TOP", "JudgedDoc", "Queries", "QueryRow", "queries"]

TOP = 3
"""Number of documents of a system that are shown for a query."""
_LISTED = 10_000
_OPENED = 300
_JUDGED = 5


@dataclass(frozen=True)
class JudgedDoc:
    """A relevant document of a query, and its rank with base and tuned; None if it was not retrieved."""

    doc_id: str
    grade: int
    before: int | None
    after: int | None


@dataclass(frozen=True)
class QueryRow:
    """A test query: its value with each system, and the documents of base and tuned if it is ``opened``."""

    query_id: str
    text: str
    values: dict[str, float]
    gain: float
    opened: bool
    before: list[ShownDoc]
    after: list[ShownDoc]
    judged: list[JudgedDoc]
    """The most relevant documents."""


@dataclass(frozen=True)
class Queries:
    """The test queries, largest gain first."""

    rows: list[QueryRow]
    left_out: int
    """Queries that are not listed, because there are too many; those that changed least."""
    closed: int
    """Listed queries without documents."""
    top: int = TOP

    @property
    def docs(self) -> list[str]:
        """Ids of all documents shown."""
        shown = [doc.doc_id for row in self.rows for doc in row.before + row.after]
        return shown + [doc.doc_id for row in self.rows for doc in row.judged]


def queries(results: Results, artifacts: Mapping[str, Artifact], measure: str) -> Queries:
    """List the queries by their gain in ``measure`` from base to tuned; empty if one of them was not evaluated."""
    if not {"base", "tuned"} <= results.values.keys() or "queries" not in artifacts:
        return Queries([], 0, 0)
    columns = {system: values[measure].tolist() for system, values in results.values.items()}
    values = {query_id: {s: columns[s][n] for s in columns} for n, query_id in enumerate(results.query_ids)}
    gains = {query_id: each["tuned"] - each["base"] for query_id, each in values.items()}
    ranked = sorted(gains, key=lambda query_id: (-abs(gains[query_id]), query_id))[:_LISTED]
    opened = set(ranked[:_OPENED])
    wording = query_texts([artifacts["queries"]], set(ranked))
    grades = _judgments(artifacts["queries"], opened)
    ranks = {system: _ranks(artifacts.get(f"search.{system}"), grades) for system in ("base", "tuned")}

    def _row(query_id: str) -> QueryRow:
        before, after = (ranks[system].get(query_id, {}) for system in ("base", "tuned"))
        of_query = grades.get(query_id, {})
        return QueryRow(
            query_id,
            wording.get(query_id, ""),
            values[query_id],
            gains[query_id],
            query_id in opened,
            _first(before, of_query),
            _first(after, of_query),
            _judged(before, after, of_query),
        )

    rows = [_row(query_id) for query_id in sorted(ranked, key=lambda query_id: (-gains[query_id], query_id))]
    return Queries(rows, len(gains) - len(ranked), len(ranked) - len(opened))


def _judgments(queries: Artifact, opened: set[str]) -> dict[str, dict[str, int]]:
    """The grade of each judged document, by query; every opened query has an entry."""
    grades: dict[str, dict[str, int]] = {query_id: {} for query_id in opened}
    for row in matching(queries, "qrels", "query_id", opened):
        if row["split"] == "test":
            grades[row["query_id"]][row["doc_id"]] = row["relevance"]
    return grades


def _ranks(run: Artifact | None, grades: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The rank of the first documents and of the judged ones, by query and document."""
    ranks: dict[str, dict[str, int]] = {}
    for row in matching(run, "run", "query_id", set(grades)) if run else ():
        if row["rank"] <= TOP or row["doc_id"] in grades[row["query_id"]]:
            ranks.setdefault(row["query_id"], {})[row["doc_id"]] = row["rank"]
    return ranks


def _first(ranks: Mapping[str, int], grades: Mapping[str, int]) -> list[ShownDoc]:
    first = sorted((rank, doc_id) for doc_id, rank in ranks.items() if rank <= TOP)
    return [ShownDoc(doc_id, grades.get(doc_id), grades.get(doc_id, 0) > 0) for _, doc_id in first]


def _judged(before: Mapping[str, int], after: Mapping[str, int], grades: Mapping[str, int]) -> list[JudgedDoc]:
    """The relevant documents with the highest grades, those that tuned ranks first before others."""
    relevant = [
        JudgedDoc(doc_id, grade, before.get(doc_id), after.get(doc_id)) for doc_id, grade in grades.items() if grade > 0
    ]

    def _order(doc: JudgedDoc) -> tuple[Any, ...]:
        return -doc.grade, doc.after is None, doc.after or 0, doc.doc_id

    return sorted(relevant, key=_order)[:_JUDGED]
