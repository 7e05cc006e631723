"""Retrievers choose the candidate documents of a query, which the teacher then scores.

A retriever is a frozen dataclass. ``prepare`` runs on the driver and makes or finds the artifacts that
the workers need; ``load`` runs in each worker and returns a function from queries to ranked documents.
To add a retriever, write ``gradret/retrievers/NAME.py`` with a dataclass called NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Ranked", "Retrieve", "Retriever", "ranked"]

Ranked = list[tuple[str, int]]
"""doc_ids and their ranks, best first. Ranks may have gaps if the retriever skips documents."""

Retrieve = Callable[[Sequence[dict[str, Any]]], list[Ranked]]
"""Return the ranked documents of each query, given rows of QUERIES."""


class Retriever(Protocol):
    """The interface that the stage ``mine`` uses. Inherit from it to get the defaults."""

    searches: ClassVar[bool] = False
    """Whether its ranks are those of a search over the corpus, which ``select.round_trip`` needs."""

    @property
    def k(self) -> int | None:
        """Documents to find per query, or None if no number is set; ``mine`` counts the queries with fewer."""
        return None

    @property
    def last_rank(self) -> int | None:
        """The last rank that can occur, or None if unbounded. Above ``k``, some ranks are left out."""
        return self.k

    @property
    def ranks_of(self) -> Retriever:
        """The retriever whose ranks these are: itself, or the one that it selects from."""
        return self

    def max_documents(self, config: Config, ingested: Artifact) -> int | None:
        """Return the maximum number of documents per query, or None if it is unknown before queries exist."""
        return self.k

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Return the artifacts that ``load`` reads; all of them enter the stage's fingerprint."""

    def load(self, prepared: dict[str, Artifact], seed: int) -> Retrieve:
        """Load the retriever; called once in each worker with the config's ``seed``."""


def ranked(doc_ids: Iterable[str]) -> Ranked:
    """Number the documents with ranks from 1."""
    return [(doc_id, rank) for rank, doc_id in enumerate(doc_ids, 1)]
