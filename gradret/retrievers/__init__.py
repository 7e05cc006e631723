"""Retrievers: which documents a query is graded against.

A retriever is a frozen dataclass. ``prepare`` runs on the driver and makes, or finds, what the
workers need; ``load`` runs in the worker and gives a function from queries to ranked doc_ids.
To add one, write ``gradret/retrievers/NAME.py`` with a dataclass called NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gradret.artifacts import Artifact
    from gradret.config import Config

__all__ = ["Retrieve", "Retriever"]

Retrieve = Callable[[Sequence[dict[str, Any]]], list[list[str]]]
"""Rows of QUERIES to ranked doc_ids, best first, one list a query."""


class Retriever(Protocol):
    """What mine needs of a retriever."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Artifacts that ``load`` will read; all of them are inputs of the stage's fingerprint."""

    def load(self, prepared: dict[str, Artifact], seed: int) -> Retrieve:
        """Called once a worker. ``seed`` is the config's."""
