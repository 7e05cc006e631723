"""Teachers: who grades the pairs.

A teacher is a frozen dataclass. ``prepare`` runs on the driver and makes, or finds, what the
workers need; ``load`` runs in the worker. To add one, write ``gradret/teachers/NAME.py`` with a
dataclass called NAME.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from gradret.artifacts import Artifact
    from gradret.config import Config

__all__ = ["Grader", "Teacher"]


class Grader(Protocol):
    """A loaded teacher. Scores do not depend on which queries are asked together."""

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Raw scores of each query's documents, float32, in their order."""

    def search(self, queries: Sequence[dict[str, Any]], k: int) -> list[list[tuple[str, float]]]:
        """The ``k`` best documents of the corpus and their scores, for a teacher that can afford it."""


class Teacher(Protocol):
    """What label needs of a teacher."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Artifacts that ``load`` will read; all of them are inputs of the stage's fingerprint."""

    def load(self, prepared: dict[str, Artifact]) -> Grader:
        """Called once a worker."""
