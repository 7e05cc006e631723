"""Teachers: who grades the pairs.

A teacher is a frozen dataclass. ``prepare`` runs on the driver and makes, or finds, what the
workers need; ``load`` runs in the worker. One that scores by itself gives a ``Grader`` there. One that
``asks_llm`` has an ``engine``, names its ``templates``, and gives a ``Task``: the prompts about a shard of
pairs, and how their answers are read. To add one, write ``gradret/teachers/NAME.py`` with a dataclass
called NAME.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.run import Config
    from gradret.engines import Engine, Task
    from gradret.store.artifacts import Artifact

__all__ = ["Grader", "LLMTeacher", "SearchGrader", "Teacher"]


class Grader(Protocol):
    """A loaded teacher. Scores do not depend on which queries are asked together."""

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Raw scores of each query's documents, float32, in their order."""


class SearchGrader(Grader, Protocol):
    """A loaded teacher that searches the corpus."""

    def search(self, queries: Sequence[dict[str, Any]], k: int) -> list[list[tuple[str, float]]]:
        """The ``k`` best documents of the corpus and their scores."""


class Teacher(Protocol):
    """What label needs of a teacher. A component inherits it, and with it the defaults."""

    positive_above: float | None = None
    """Documents whose raw score is above it are positives of the query; None where scores do not say."""

    searches: ClassVar[bool] = False
    """Whether it can search the whole corpus; then it is a system of the report."""
    reranks: ClassVar[bool] = False
    """Whether it can score any pair of a query and a document of the corpus; then it can be checked, and
    be a system of the report."""
    asks_llm: ClassVar[bool] = False
    """Whether it has an ``engine`` that answers prompts; it is then no system of the report."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Artifacts that ``load`` will read; all of them are inputs of the stage's fingerprint.

        What is wrong with the settings is said here, on the driver.
        """

    def load(self, prepared: dict[str, Artifact]) -> Grader | Task:
        """Called once a worker."""

    @property
    def templates(self) -> tuple[str, ...]:
        """Templates that its prompts are made of; their content enters the fingerprint."""
        return ()

    def unknown_pairs(self, prepared: dict[str, Artifact], mined: Artifact) -> tuple[int, list[str]] | None:
        """How many of its scores no pair of PAIRS asks for, and a few; None where it brings no scores of its own."""
        return None


class LLMTeacher(Teacher, Protocol):
    """What label needs of a teacher that asks an LLM: ``load`` gives a Task over shards of PAIRS."""

    @property
    def engine(self) -> Engine:
        """Who answers."""

    def load(self, prepared: dict[str, Artifact]) -> Task: ...
