"""Teachers score the pairs that the student is trained on.

A teacher is a frozen dataclass. ``prepare`` runs on the driver and makes or finds the artifacts that the
workers need; ``load`` runs in each worker. It returns a ``Grader``, or, if the teacher ``asks_llm``, a
``Task`` that writes the prompts about a shard of pairs and reads their answers; such a teacher also has
an ``engine`` and lists its ``templates``. To add a teacher, write ``gradret/teachers/NAME.py`` with a
dataclass called NAME.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from gradret.config.run import Config
    from gradret.engines import Engine, Task
    from gradret.store.artifacts import Artifact

__all__ = ["Grader", "LLMTeacher", "SearchGrader", "Teacher", "TrainableTeacher"]


class Grader(Protocol):
    """A loaded teacher. A score does not depend on which queries are scored in the same call."""

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return each query's raw scores, float32, in the order of its ``doc_ids``."""


class SearchGrader(Grader, Protocol):
    """A loaded teacher that searches the corpus."""

    def search(self, queries: Sequence[dict[str, Any]], k: int) -> list[list[tuple[str, float]]]:
        """Return the ``k`` best documents of the corpus for each query, with their scores, best first."""


class Teacher(Protocol):
    """The interface that the stage ``label`` uses. Inherit from it to get the defaults."""

    positive_above: float | None = None
    """Documents with a raw score above this are positives of the query; None takes none from scores."""
    searches: ClassVar[bool] = False
    """Whether it can search the whole corpus; if so, the report evaluates it as a system."""
    reranks: ClassVar[bool] = False
    """Whether it can score any pair of a query and a document of the corpus; if so, the stage ``check`` can
    compare it with the student, and the report can evaluate it as a reranker."""
    depth: int = 0
    """The most documents of a query that it scores; 0 is any number. The check reranks no more."""
    threaded: ClassVar[bool] = False
    """Whether its threads use all cores of a machine, so that a node without GPUs gets one worker by default."""
    asks_llm: ClassVar[bool] = False
    """Whether it has an ``engine`` that answers prompts; if so, the report does not evaluate it."""

    trainable: ClassVar[bool] = False
    """Whether it has the methods of ``TrainableTeacher``, which ``gradret train-teacher`` needs."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Return the artifacts that ``load`` reads; all of them enter the stage's fingerprint.

        Runs on the driver; raise here if the settings are wrong.
        """

    def load(self, prepared: dict[str, Artifact]) -> Grader | Task:
        """Load the teacher; called once in each worker."""

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompt templates that it uses; their content enters the fingerprint."""
        return ()

    def for_check(self) -> Any:
        """Return the teacher as the stage ``check`` asks it: the same scores, perhaps with more to check them by."""
        return self

    @property
    def step(self) -> float:
        """Difference of two neighbouring grades in raw scores; 0 if it gives no grades."""
        return 0.0

    def unknown_pairs(self, prepared: dict[str, Artifact], mined: Artifact) -> tuple[int, list[str]] | None:
        """Return how many of its scores match no pair of ``mined``, with examples; None if it has no given scores."""
        return None


class LLMTeacher(Teacher, Protocol):
    """The interface of a teacher that asks an LLM: ``load`` returns a Task over shards of PAIRS."""

    @property
    def engine(self) -> Engine:
        """The engine that answers the prompts."""

    def load(self, prepared: dict[str, Artifact]) -> Task: ...

    def in_both_orders(self, item: Path, read: Mapping[str, Any]) -> Iterable[tuple[Sequence[float], Sequence[float]]]:
        """Return, for each query, the scores of its documents in two presentation orders, in the same sequence.

        Args:
            item: a shard of PAIRS.
            read: for each prompt what the task's ``read`` returned, or a ``Quarantined``.
        """
        return ()


class TrainableTeacher(Teacher, Protocol):
    """The interface that the stage ``train_teacher`` uses."""

    model: str
    """The folder, ``package:NAME`` or Hub id to start from; the content of a folder is fingerprinted."""
    trust_remote_code: bool

    def start(self, folder: Path, seed: int) -> None:
        """Write the model to train from to ``folder``; ``seed`` draws the weights that it lacks."""

    def student(self, folder: Path, device: str = "cpu", dropout: float = 0.0) -> Any:
        """Return the model in ``folder``, ready to be trained: a ``Student`` as ``gradret.training.pairs`` says."""

    def trained(self, folder: Path) -> Teacher:
        """Return the teacher with the model in ``folder``."""
