"""Generators: queries about documents.

A generator is a frozen dataclass whose ``load`` runs in the worker and gives a function from one
document to its queries. To add one, write ``gradret/generators/NAME.py`` with a dataclass called NAME.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from gradret.artifacts import Artifact
    from gradret.config import Config

__all__ = ["Generated", "Generator", "Write"]


class Generated(NamedTuple):
    """A query and what kind it is."""

    kind: str
    text: str


Write = Callable[[str, str, str], list[Generated]]
"""(doc_id, title, text) to queries; what it draws, it draws by a hash of seed and doc_id."""


class Generator(Protocol):
    """What generate needs of a generator."""

    def prepare(self, config: Config, ingested: Artifact, sample: Artifact) -> dict[str, Artifact]:
        """Artifacts that ``load`` will read."""

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> Write:
        """Called once a worker. ``sampled`` is the number of documents to write about."""
