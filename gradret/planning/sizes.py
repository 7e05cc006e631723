"""What the stages of a run work on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UNITS", "Sizes"]

UNITS = {
    "ingest": "documents",
    "queries": "test queries",
    "dedupe": "documents",
    "generate": "queries",
    "leaks": "queries",
    "bm25": "documents",
    "base": "documents",
    "encode": "documents",
    "mine": "queries",
    "check": "queries",
    "label": "pairs",
    "select": "queries",
    "train": "queries",
    "index": "documents",
    "search": "test queries",
    "evaluate": "test queries",
    "smaller": "test queries",
}
"""Kinds of artifacts, in the order of the flow, with the rows that are counted. bm25 and encode are parts of stages."""


@dataclass(frozen=True)
class Sizes:
    """What a run's stages work on."""

    documents: int
    queries: int
    """For training."""
    test_queries: int
    pairs: int | None
    """Pairs of a query and a document to score, at most; None if a retriever does not declare how many it returns."""
    words: float
    """Mean words per document."""

    def rows(self, kind: str) -> int | None:
        """Number of rows of a kind of artifact."""
        named = {"documents": self.documents, "queries": self.queries, "test queries": self.test_queries}
        return named.get(UNITS[kind], self.pairs)
