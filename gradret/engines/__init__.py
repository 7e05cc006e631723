"""Engines: who answers prompts.

A job (a generator of queries or documents, a judge) gives prompts and reads answers; it never sees
an engine. An engine is a frozen dataclass: ``load`` runs in the worker that writes prompts and gives a
function from a prompt to the row that the engine wants; ``answer`` adds a step to a Ray dataset of such
rows. To add one, write ``gradret/engines/NAME.py`` with a dataclass called NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gradret.draw import draw

if TYPE_CHECKING:
    from pathlib import Path

    from ray.data import Dataset

    from gradret.store.results import Quarantined, Result

__all__ = ["Answer", "Engine", "Finish", "Prompt", "Row", "Sampling", "Task", "TooLong", "Unusable", "Write"]

Finish = Literal["stop", "length", "error", "too_long"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. The seed is not here: it follows from the prompt's id."""

    max_tokens: int
    """The most tokens an answer may have; one that reaches it has ``finish`` "length"."""
    min_tokens: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    choices: tuple[str, ...] = ()
    """Texts of one token each. The answer then carries their log-probabilities as its first token."""
    json_schema: Mapping[str, Any] | None = None
    """What the answer must be, enforced while it is drawn."""


@dataclass(frozen=True)
class Prompt:
    """A question to an engine, whole but for the cut that the engine's limit may ask for."""

    prompt_id: str
    """Unique within the stage. The sampling seed follows from it."""
    system: str
    """The system message; the same for many prompts, so that engines can cache it."""
    user: Callable[[Sequence[str]], str]
    """The user's message around ``texts``, which may have been cut."""
    texts: tuple[str, ...]
    """Documents, whose ends are cut where the prompt is too long. Nothing else ever is."""
    sampling: Sampling
    max_text_tokens: int = 512
    """The most tokens of each text, even where the prompt would fit with more."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was drawn for this prompt; plain JSON, handed back with the answer and kept."""

    def seed(self, run: int) -> int:
        """The sampling seed under the run's seed: 31 bits, which every engine takes."""
        return draw("ask", run, self.prompt_id) >> 33


@dataclass(frozen=True)
class Answer:
    """What came back for a prompt."""

    prompt_id: str
    text: str
    finish: Finish
    tokens_in: int
    tokens_out: int
    logprobs: tuple[float, ...] = ()
    """Natural log-probability of each of ``Sampling.choices``; -inf where the engine did not tell."""
    error: str = ""
    """What the engine said, where ``finish`` is "error" or "too_long"."""
    cut: int = 0
    """Texts of the prompt that were cut."""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Unusable(Exception):  # noqa: N818 - no error of the program: an answer to be quarantined
    """An answer that cannot be used; says why, in a few words that many answers share."""


class TooLong(Exception):  # noqa: N818
    """A prompt that does not fit even without its texts."""


Write = Callable[[Prompt, int], Row]
"""A prompt and its seed to the engine's row; raises TooLong."""


class Engine(Protocol):
    """What asking needs of an engine."""

    @property
    def model(self) -> str:
        """What the model is called."""

    def check(self) -> None:
        """Refuse, on the driver and before any work, what cannot work: a missing package, key or model."""

    def load(self) -> Write:
        """Called once in each worker that writes prompts.

        A row tells the prompt's tokens as ``tokenized_prompt``, or their number as ``prompt_tokens``.
        """

    def answer(self, rows: Dataset) -> Dataset:
        """Every row with ``text``, ``finish``, ``tokens_in``, ``tokens_out``, ``logprobs`` and ``error``.

        The columns ``prompt_id``, ``item``, ``facts`` and ``cut`` must come through as they are.
        """


class Task(Protocol):
    """An LLM job, loaded in a worker: it gives the prompts of an input shard and reads their answers."""

    def prompts(self, item: Path) -> Iterable[Prompt]:
        """The prompts of a shard, always the same ones.

        All prompts of a task want choices or none does, and so with a schema: engines take them in one table.
        """

    def read(self, answer: Answer) -> Any:
        """What the answer says.

        Raises:
            Unusable: it cannot be used. Engine errors and prompts too long never come here.
        """

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        """The shard's tables, from what was read of each of its prompts, or why it could not be."""
