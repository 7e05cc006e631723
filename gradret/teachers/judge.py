"""An LLM judge that grades one pair per prompt."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gradret.components import name_of
from gradret.config.fields import at_least, component, location, require
from gradret.engines import Answer, Prompt, Sampling, Unusable
from gradret.pairs import labels
from gradret.prompts import messages
from gradret.store.artifacts import read_shard
from gradret.store.results import Quarantined, Result
from gradret.teachers import LLMTeacher
from gradret.texts import doc_texts, query_texts

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Judge"]

_GRADES = {"0-3": range(4), "1-7": range(1, 8), "binary": range(2)}
_ORDERS = {
    "both": ("query_first", "document_first"),
    "query_first": ("query_first",),
    "document_first": ("document_first",),
}


@dataclass(frozen=True)
class Judge(LLMTeacher):
    """``(E[grade] - lowest) / (highest - lowest)``, with the expectation over the grade tokens' probabilities.

    There is one prompt per pair and order. The probabilities of the grade tokens as first token, normalised
    to sum to 1, weight the grades; the orders' expectations are averaged. Scores lie in [0, 1]. The mean
    probability of other tokens is label's note ``outside_mean``. Turn thinking off for a model that thinks
    before it answers.

    ``select`` rescales scores by percentiles; ``select.low: 0`` and ``select.high: 100`` only stretch them
    linearly from the lowest to the highest.

    Source: the expectation over grade tokens and the mean over both orders are those of LightBlue's reranker
    data, verified on its card. BiXSE (2508.06781) uses an LLM's grades as probabilities, verified in its
    abstract; that it computes them this way is an assumption. The grade definitions are gradret's.
    """

    asks_llm: ClassVar[bool] = True

    engine: Any = component("engines", {"name": "vllm"})
    """The engine that answers the prompts."""
    scale: Literal["0-3", "1-7", "binary"] = "0-3"
    """The grades; ``binary`` is 0 or 1."""
    orders: Literal["both", "query_first", "document_first"] = "both"
    """Which text comes first in the prompt; ``both`` asks twice, to cancel the model's position bias."""
    max_outside: float = 0.5
    """Quarantine a pair if an answer gives more than this probability to tokens other than grades."""
    max_doc_tokens: int = 512
    """Maximum tokens per document; the rest is truncated."""
    positive_above: float | None = None
    """Documents that score above this are further positives of the query; null adds none."""
    template: str | None = location(None)
    """A template, or a path that ends in .jinja, with a variable ``system`` and a macro
    ``user(query, document, query_first)``; null is ``judge/SCALE``."""

    reranks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.max_outside < 1:
            raise ValueError(f"max_outside must be at least 0 and below 1, got {self.max_outside}")
        require(max_doc_tokens=at_least(1, self.max_doc_tokens))
        if self.positive_above is not None and not 0 <= self.positive_above < 1:
            raise ValueError(f"positive_above must be at least 0 and below 1, or null, got {self.positive_above}")

    @property
    def step(self) -> float:
        return 1 / (len(_GRADES[self.scale]) - 1)

    @property
    def templates(self) -> tuple[str, ...]:
        return (self.template or f"judge/{self.scale}",)

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        _messages(self)
        return {"docs": ingested, "queries": queries}

    def load(self, prepared: dict[str, Artifact]) -> _JudgeTask:
        return _JudgeTask(self, prepared)

    def in_both_orders(self, item: Path, read: Mapping[str, Any]) -> Iterator[tuple[list[float], list[float]]]:
        pairs = read_shard(item, "pairs", ["query_id", "pair_id"]).to_pylist()
        for _, group in groupby(pairs if self.orders == "both" else [], key=lambda pair: pair["query_id"]):
            scores = [[read[_prompt_id(pair["pair_id"], order)] for order in _ORDERS["both"]] for pair in group]
            usable = [each for each in scores if not any(isinstance(score, Quarantined) for score in each)]
            yield [first for first, _ in usable], [second for _, second in usable]


class _JudgeTask:
    def __init__(self, settings: Judge, prepared: dict[str, Artifact]) -> None:
        self.settings, self.prepared = settings, prepared
        self.system, self.write = _messages(settings)
        self.grades, self.orders = _GRADES[settings.scale], _ORDERS[settings.orders]
        self.sampling = Sampling(max_tokens=1, temperature=0.0, choices=tuple(map(str, self.grades)))

    def prompts(self, item: Path) -> Iterator[Prompt]:
        pairs = read_shard(item, "pairs")
        queries = query_texts(self.prepared["queries"], pairs["query_id"].to_pylist())
        documents = doc_texts(self.prepared.values(), pairs["doc_id"].to_pylist())
        for pair in pairs.to_pylist():
            for order in self.orders:
                yield Prompt(
                    prompt_id=_prompt_id(pair["pair_id"], order),
                    system=self.system,
                    user=functools.partial(self._user, queries[pair["query_id"]], order),
                    texts=(documents[pair["doc_id"]],),
                    sampling=self.sampling,
                    max_text_tokens=self.settings.max_doc_tokens,
                )

    def _user(self, query: str, order: str, documents: Sequence[str]) -> str:
        return self.write(query=query, document=documents[0], query_first=order == "query_first")

    def read(self, answer: Answer) -> float:
        """Return the expected grade of one prompt, scaled to [0, 1]."""
        if len(answer.logprobs) != len(self.grades):
            raise Unusable("the answer has no probabilities for the grades")
        weights = [math.exp(logprob) for logprob in answer.logprobs]
        if 1 - sum(weights) > self.settings.max_outside:
            raise Unusable("no grade among the likely tokens")
        expected = sum(grade * weight for grade, weight in zip(self.grades, weights, strict=True)) / sum(weights)
        return (expected - self.grades[0]) / (self.grades[-1] - self.grades[0])

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        pairs = read_shard(item, "pairs")
        scores = [
            [read[_prompt_id(pair_id, order)] for order in self.orders] for pair_id in pairs["pair_id"].to_pylist()
        ]
        return labels(pairs, [_mean(by_order) for by_order in scores], name_of(self.settings))


def _prompt_id(pair_id: str, order: str) -> str:
    return f"{pair_id}~{order}"


def _mean(scores: Sequence[float | Quarantined]) -> float | Quarantined:
    """Return the mean over the orders; if one is quarantined, so is the pair."""
    usable = [score for score in scores if not isinstance(score, Quarantined)]
    if len(usable) < len(scores):
        return next(score for score in scores if isinstance(score, Quarantined))
    return sum(usable) / len(usable)


def _messages(settings: Judge) -> tuple[str, Callable[..., str]]:
    return messages(*settings.templates, query="", document="", query_first=True)
