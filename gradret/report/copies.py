"""Count the documents and queries that were left out as copies, by reason, with a few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradret.report.samples import matching

if TYPE_CHECKING:
    from gradret.store.artifacts import Artifact

__all__ = ["Copies", "Copy", "Leak", "Leaks", "copies", "leaks"]

_SHOWN = 3


@dataclass(frozen=True)
class Copy:
    """A copy, for which no queries are generated, and the document that is kept instead."""

    doc_id: str
    kept_doc_id: str


@dataclass(frozen=True)
class Copies:
    """The copies that ``dedupe`` left out."""

    documents: int
    """Number of documents in the corpus."""
    counts: Mapping[str, int]
    """Copies by reason, most frequent first."""
    too_short: int
    """Documents that are too short to write a query about."""
    examples: Mapping[str, list[Copy]]
    """The first copies of each reason."""


@dataclass(frozen=True)
class Leak:
    """A training query and the test query that it nearly duplicates."""

    text: str
    test_text: str
    similarity: float


@dataclass(frozen=True)
class Leaks:
    """Training queries that nearly duplicate a test query."""

    queries: int
    """Number of distinct training queries."""
    examples: list[Leak]
    """The most similar pairs."""


def copies(deduped: Artifact) -> Copies:
    """Summarise DUPLICATES, reading one shard at a time."""
    import pyarrow.compute as pc

    counts: Counter[str] = Counter()
    examples: dict[str, list[Copy]] = {}
    for batch in deduped.batches("duplicates"):
        counts.update(batch["reason"].to_pylist())
        for reason in counts:
            shown = examples.setdefault(reason, [])
            rows = batch.filter(pc.equal(batch["reason"], reason)).slice(0, _SHOWN - len(shown))
            shown += [Copy(row["doc_id"], row["kept_doc_id"]) for row in rows.to_pylist()]
    ranked = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return Copies(
        documents=deduped.counts.get("rows_in", 0),
        counts=ranked,
        too_short=deduped.counts.get("too_short", 0),
        examples={reason: examples[reason] for reason in ranked},
    )


def leaks(leaks: Artifact, generated: Artifact, queries: Artifact | None) -> Leaks:
    """Summarise LEAKS, with the texts of the most similar pairs."""
    rows = leaks.table("leaks")
    best = rows.sort_by([("similarity", "descending"), ("query_id", "ascending")]).slice(0, _SHOWN).to_pylist()
    texts = _texts(generated, {row["query_id"] for row in best})
    tests = _texts(queries, {row["test_query_id"] for row in best}) if queries else {}
    examples = [
        Leak(texts.get(row["query_id"], ""), tests.get(row["test_query_id"], ""), row["similarity"]) for row in best
    ]
    return Leaks(len(set(rows["query_id"].to_pylist())), examples)


def _texts(artifact: Artifact, wanted: set[str]) -> dict[str, str]:
    return {row["query_id"]: row["text"] for row in matching(artifact, "queries", "query_id", wanted)}
