"""Engines send prompts to a language model.

A task (a generator of queries or documents, a judge) yields prompts and reads answers; it never sees
an engine. An engine is a frozen dataclass that inherits ``Engine``. Its ``load`` runs in the worker that
writes prompts and returns a function from a prompt to the engine's input row; its ``answer`` adds a step to
a Ray dataset of such rows. To add an engine, write ``gradret/engines/NAME.py`` with a dataclass called NAME.
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
    """Sampling parameters of an answer. The seed is not among them: it is derived from the prompt's id."""

    max_tokens: int
    """Maximum tokens of an answer; an answer cut off there has ``finish`` "length"."""
    min_tokens: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    choices: tuple[str, ...] = ()
    """Texts of one token each. The answer then has the log-probability of each as its first token."""
    json_schema: Mapping[str, Any] | None = None
    """JSON schema of the answer, enforced by constrained decoding."""


@dataclass(frozen=True)
class Prompt:
    """A prompt for an engine, which may truncate ``texts`` to fit its context."""

    prompt_id: str
    """Unique within the stage. The sampling seed is derived from it."""
    system: str
    """The system message; shared by many prompts, so that engines can cache it."""
    user: Callable[[Sequence[str]], str]
    """Return the user message around ``texts``, which may be truncated."""
    texts: tuple[str, ...]
    """Documents. If the prompt is too long, their ends are cut, and nothing else."""
    sampling: Sampling
    max_text_tokens: int = 512
    """Maximum tokens of each text, even if more would fit."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Random choices made for this prompt, as plain JSON; returned and stored with the answer."""

    def seed(self, run: int) -> int:
        """Return the sampling seed for a run's seed: 31 bits, which every engine accepts."""
        return draw("ask", run, self.prompt_id) >> 33


@dataclass(frozen=True)
class Answer:
    """An engine's answer to a prompt."""

    prompt_id: str
    text: str
    finish: Finish
    tokens_in: int
    tokens_out: int
    logprobs: tuple[float, ...] = ()
    """Natural log-probability of each of ``Sampling.choices``; -inf if the engine did not report it."""
    error: str = ""
    """The engine's error message if ``finish`` is "error" or "too_long"."""
    cut: int = 0
    """Number of the prompt's texts that were truncated."""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Unusable(Exception):  # noqa: N818 - not a program error: the answer is quarantined
    """The answer cannot be used. The message is a short reason, worded alike for all such answers, to be counted."""


class TooLong(Exception):  # noqa: N818
    """The prompt does not fit even without its texts."""


Write = Callable[[Prompt, int], Row]
"""Turn a prompt and its seed into the engine's input row; raises TooLong."""


class Engine(Protocol):
    """The interface that ``gradret.work.asking`` and ``gradret plan`` use. A component inherits it and its defaults."""

    model: str
    """The model's name."""

    @property
    def engines(self) -> int:
        """Number of engines in parallel; 1 for an endpoint."""
        return 1

    @property
    def gpus(self) -> int:
        """GPUs per engine, for ``gradret plan``; 0 if it is an endpoint or runs on CPU cores."""
        return 0

    @property
    def sequences(self) -> int:
        """Sequences that one engine generates in parallel; used only where it has ``gpus``."""
        return 1

    def alone(self, batch_size: int) -> Engine:
        """Return the engine with one instance and this batch size, for a probe of its speed."""
        return self

    def check(self) -> None:
        """Raise, on the driver and before any work, if a package, key or model is missing."""

    def wait(self, stage: str) -> None:
        """Wait until the cluster has the nodes for one engine, or raise; an endpoint needs none."""

    def load(self) -> Write:
        """Return the function that writes input rows; called once in each worker that writes prompts.

        A row has the prompt's tokens as ``tokenized_prompt``, or their number as ``prompt_tokens``.
        """

    def answer(self, rows: Dataset) -> Dataset:
        """Add ``text``, ``finish``, ``tokens_in``, ``tokens_out``, ``logprobs`` and ``error`` to every row.

        The columns ``prompt_id``, ``item``, ``facts`` and ``cut`` must stay unchanged. A column ``seconds``, the time
        that the engine took from the prompt to its answer, tells when it began to work, from where rates count.
        """


class Task(Protocol):
    """An LLM job, loaded in a worker: it yields the prompts of an input shard and reads their answers."""

    def prompts(self, item: Path) -> Iterable[Prompt]:
        """Yield a shard's prompts; every call must yield the same ones.

        Either all prompts of a task set ``choices`` or none does, and likewise ``json_schema``: engines
        process them as one table.
        """

    def read(self, answer: Answer) -> Any:
        """Parse an answer.

        Raises:
            Unusable: the answer cannot be used. Engine errors and prompts too long are not passed here.
        """

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        """Return the shard's tables, given for each prompt what ``read`` returned or why it was quarantined."""
