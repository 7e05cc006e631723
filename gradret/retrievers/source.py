"""The document that a query was written about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.retrievers import Ranked, Retrieve, Retriever

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Source"]


@dataclass(frozen=True)
class Source(Retriever):
    """The source document of a generated query; nothing for a human query."""

    def max_documents(self, config: Config, ingested: Artifact) -> int:
        return 1

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {}

    def load(self, prepared: dict[str, Artifact], seed: int) -> Retrieve:
        return _source


def _source(queries: Sequence[dict[str, Any]]) -> list[Ranked]:
    return [[(query["source_doc_id"], 1)] if query["source_doc_id"] else [] for query in queries]
