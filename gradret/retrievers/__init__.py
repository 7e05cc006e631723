"""Retrievers: which documents a query is graded against.

A retriever is a frozen dataclass. ``prepare`` runs on the driver and makes, or finds, what the
workers need; ``load`` runs in the worker and gives a function from queries to ranked documents.
To add one, write ``gradret/retrievers/NAME.py`` with a dataclass called NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Ranked", "Retrieve", "Retriever", "ranked"]

Ranked = list[tuple[str, int]]
"""doc_ids and their ranks, best first. A retriever that leaves some out gives the others their true ranks."""

Retrieve = Callable[[Sequence[dict[str, Any]]], list[Ranked]]
"""Rows of QUERIES to what is found for each."""


class Retriever(Protocol):
    """What mine needs of a retriever. A component inherits it, and with it the defaults.

    One that is asked for a number of documents a query, the most that it finds, has it as ``k``; mine counts
    the queries for which it finds fewer. One that only chooses among what another finds has that one as
    ``retriever``.
    """

    searches: ClassVar[bool] = False
    """Whether the rank that it gives a document is that of a search of the corpus; ``select.round_trip`` needs one."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Artifacts that ``load`` will read; all of them are inputs of the stage's fingerprint."""

    def load(self, prepared: dict[str, Artifact], seed: int) -> Retrieve:
        """Called once a worker. ``seed`` is the config's."""


def ranked(doc_ids: Iterable[str]) -> Ranked:
    """The documents with ranks 1, 2, 3 and so on."""
    return [(doc_id, rank) for rank, doc_id in enumerate(doc_ids, 1)]
