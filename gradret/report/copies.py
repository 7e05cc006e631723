"""Documents and queries that were left out because they are copies: how many for what, and a few to look at."""

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
    """A document that no queries are written about, and the one that stands for it."""

    doc_id: str
    kept_doc_id: str


@dataclass(frozen=True)
class Copies:
    """What ``dedupe`` took for copies."""

    documents: int
    """Of the corpus."""
    counts: Mapping[str, int]
    """Copies by reason, the most first."""
    too_short: int
    """Documents too short to write a query about."""
    examples: Mapping[str, list[Copy]]
    """The first ones of every reason."""


@dataclass(frozen=True)
class Leak:
    """A training query that is near a test query."""

    text: str
    test_text: str
    similarity: float


@dataclass(frozen=True)
class Leaks:
    """What the leak check found."""

    queries: int
    """Different training queries."""
    examples: list[Leak]
    """The most similar ones."""


def copies(deduped: Artifact) -> Copies:
    """Counted over all of DUPLICATES, a shard in memory at a time."""
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


def leaks(found: Artifact, generated: Artifact, queries: Artifact | None) -> Leaks:
    """Training queries near a test query, with the texts of a few."""
    rows = found.table("leaks")
    best = rows.sort_by([("similarity", "descending"), ("query_id", "ascending")]).slice(0, _SHOWN).to_pylist()
    texts = _texts(generated, {row["query_id"] for row in best})
    tests = _texts(queries, {row["test_query_id"] for row in best}) if queries else {}
    examples = [
        Leak(texts.get(row["query_id"], ""), tests.get(row["test_query_id"], ""), row["similarity"]) for row in best
    ]
    return Leaks(len(set(rows["query_id"].to_pylist())), examples)


def _texts(artifact: Artifact, wanted: set[str]) -> dict[str, str]:
    return {row["query_id"]: row["text"] for row in matching(artifact, "queries", "query_id", wanted)}
