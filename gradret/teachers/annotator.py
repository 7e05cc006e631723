"""An LLM that selects or ranks the relevant documents among all candidates of a query, in one prompt."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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

__all__ = ["Annotator"]

_NOT_JSON = "the answer does not match the JSON schema"


@dataclass(frozen=True)
class Annotator(LLMTeacher):
    """One prompt per query with all its candidates; documents that the model names are positives.

    ``select`` scores 1 if the model names the document, else 0. ``rank`` scores ``1 - place / candidates``
    with places from 0, and 0 if the model does not name the document. A prompt shows at most the
    ``max_candidates`` that a retriever ranked highest; the other pairs are quarantined. Candidates are
    shown in the order of their pair_ids, which are hashes, so that the order gives no hint.

    The check asks each query a second time with its documents in reverse order: if the answers do not agree, places
    are picked, not documents.

    Most scores are 0, so keep their scale with ``select.low: 0`` and ``select.high: 100``.

    Source: UtilSel and UtilRank of "Utility-Focused LLM Annotation" (EMNLP 2025 main 88) select and rank in
    one prompt, verified in its text; its earlier steps (a first selection, and a pseudo-answer to judge by)
    are omitted. That the multiple-positives paper (2602.12727) annotates the same way is an assumption.
    The scores of ``rank`` and the wording of the prompts are gradret's.
    """

    asks_llm: ClassVar[bool] = True
    reranks: ClassVar[bool] = True

    engine: Any = component("engines", {"name": "vllm"})
    """The engine that answers the prompts."""
    task: Literal["select", "rank"] = "select"
    """Ask for the relevant documents in any order, or best first."""
    max_candidates: int = 20
    max_doc_tokens: int = 256
    """Maximum tokens per document; the rest is truncated."""
    reverse_too: bool = False
    """Ask twice, the second time in reverse order, and note how far both agree; only the first answer gives scores.
    The stage ``check`` always does."""
    template: str | None = location(None)
    """A template, or a path that ends in .jinja, with a variable ``system`` and a macro
    ``user(query, documents)``; null is ``annotate/TASK``."""

    positive_above = 0.0

    @property
    def step(self) -> float:
        return 1.0 if self.task == "select" else 0.0

    def __post_init__(self) -> None:
        require(max_candidates=at_least(2, self.max_candidates), max_doc_tokens=at_least(1, self.max_doc_tokens))

    @property
    def depth(self) -> int:  # type: ignore[override]
        return self.max_candidates

    def for_check(self) -> Annotator:
        return replace(self, reverse_too=True)

    @property
    def templates(self) -> tuple[str, ...]:
        return (self.template or f"annotate/{self.task}",)

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        _messages(self)
        return {"docs": ingested, "queries": queries}

    def load(self, prepared: dict[str, Artifact]) -> _AnnotatorTask:
        return _AnnotatorTask(self, prepared)

    def in_both_orders(self, item: Path, read: Mapping[str, Any]) -> Iterator[tuple[list[float], list[float]]]:
        query_ids = dict.fromkeys(read_shard(item, "pairs", ["query_id"])["query_id"].to_pylist())
        for query_id in query_ids if self.reverse_too else ():
            first, second = read[query_id], read[_reversed_id(query_id)]
            if not isinstance(first, Quarantined) and not isinstance(second, Quarantined):
                yield list(first.values()), [second[pair_id] for pair_id in first]


class _AnnotatorTask:
    def __init__(self, settings: Annotator, prepared: dict[str, Artifact]) -> None:
        self.settings, self.prepared = settings, prepared
        self.system, self.write = _messages(settings)

    def prompts(self, item: Path) -> Iterator[Prompt]:
        pairs = read_shard(item, "pairs")
        queries = query_texts(self.prepared["queries"], pairs["query_id"].to_pylist())
        documents = doc_texts(self.prepared.values(), pairs["doc_id"].to_pylist())
        for query_id, rows in groupby(pairs.to_pylist(), key=lambda pair: pair["query_id"]):
            shown = self._shown(list(rows))
            orders = {query_id: shown} | ({_reversed_id(query_id): shown[::-1]} if self.settings.reverse_too else {})
            for prompt_id, pairs_in_order in orders.items():
                yield Prompt(
                    prompt_id=prompt_id,
                    system=self.system,
                    user=functools.partial(self._user, queries[query_id]),
                    texts=tuple(documents[pair["doc_id"]] for pair in pairs_in_order),
                    sampling=_sampling(len(shown)),
                    max_text_tokens=self.settings.max_doc_tokens,
                    facts={"shown": [pair["pair_id"] for pair in pairs_in_order]},
                )

    def _shown(self, pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        best = sorted(pairs, key=lambda pair: (min(pair["ranks"]), pair["pair_id"]))
        return sorted(best[: self.settings.max_candidates], key=lambda pair: pair["pair_id"])

    def _user(self, query: str, documents: Sequence[str]) -> str:
        return self.write(query=query, documents=documents)

    def read(self, answer: Answer) -> dict[str, float]:
        """Return the score of each pair in the prompt, by pair_id."""
        shown = answer.facts["shown"]
        numbers = _document_numbers(answer)
        if not all(1 <= number <= len(shown) for number in numbers):
            raise Unusable("the answer names a document number that is not in the prompt")
        scores = dict.fromkeys(shown, 0.0)
        for place, number in enumerate(numbers):
            scores[shown[number - 1]] = 1 - place / len(shown) if self.settings.task == "rank" else 1.0
        return scores

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        pairs = read_shard(item, "pairs")
        columns = zip(pairs["query_id"].to_pylist(), pairs["pair_id"].to_pylist(), strict=True)
        not_shown = Quarantined("", f"not among the query's top {self.settings.max_candidates} candidates")
        answers = [(read[query_id], pair_id) for query_id, pair_id in columns]
        scores = [
            answer if isinstance(answer, Quarantined) else answer.get(pair_id, not_shown) for answer, pair_id in answers
        ]
        return labels(pairs, scores, name_of(self.settings))


def _reversed_id(query_id: str) -> str:
    return f"{query_id}~reversed"


def _sampling(candidates: int) -> Sampling:
    """Decode greedily, with room for every number once; engines do not enforce that numbers are distinct."""
    numbers = {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": candidates},
        "maxItems": candidates,
    }
    schema = {
        "type": "object",
        "properties": {"relevant": numbers},
        "required": ["relevant"],
        "additionalProperties": False,
    }
    return Sampling(max_tokens=32 + 6 * candidates, temperature=0.0, json_schema=schema)


def _document_numbers(answer: Answer) -> list[int]:
    """Return the document numbers in the answer, in its order, without duplicates."""
    try:
        numbers = json.loads(answer.text)["relevant"]
    except (ValueError, KeyError, TypeError):
        reason = "the answer was cut off" if answer.finish == "length" else _NOT_JSON
        raise Unusable(reason) from None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise Unusable(_NOT_JSON)
    return list(dict.fromkeys(numbers))


def _messages(settings: Annotator) -> tuple[str, Callable[..., str]]:
    return messages(*settings.templates, query="", documents=[""])
