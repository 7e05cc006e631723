"""An LLM that picks or ranks the relevant ones among a query's candidates, seeing all of them at once."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gradret.components import name_of
from gradret.config.fields import at_least, component, location, refuse
from gradret.engines import Answer, Prompt, Sampling, Unusable
from gradret.pairs import labels
from gradret.prompts import messages
from gradret.store.artifacts import read_shard
from gradret.store.results import Quarantined, Result
from gradret.teachers import Teacher
from gradret.texts import doc_texts, query_texts

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Annotator"]


@dataclass(frozen=True)
class Annotator(Teacher):
    """One prompt a query with all its candidates; those that the model names are positives of the query.

    ``select``: 1 where the model names the document, else 0. ``rank``: ``1 - place / candidates`` with
    places from 0, and 0 where it does not name it. A prompt shows at most ``max_candidates``, those that
    a retriever ranked highest; the other pairs are quarantined. They are shown in the order of their
    pair_ids, which are hashes, so that the place tells the model nothing.

    Most scores are 0, so keep their scale with ``select.low: 0`` and ``select.high: 100``.

    Source: UtilSel and UtilRank of "Utility-Focused LLM Annotation" (EMNLP 2025 main 88) select and rank in
    one prompt, verified in its text; its steps before that, a first selection and a pseudo-answer to
    judge by, are left out. That the multiple-positives paper (2602.12727) annotates alike is a
    reconstruction. The numbers for places are ours, and so is the wording.
    """

    asks_llm: ClassVar[bool] = True

    engine: Any = component("engines", {"name": "vllm"})
    """Who answers."""
    task: Literal["select", "rank"] = "select"
    """Name the relevant documents, or name them best first."""
    max_candidates: int = 20
    max_doc_tokens: int = 256
    """Each document is cut to this many tokens."""
    template: str | None = location(None)
    """A template, or a path that ends in .jinja, with a variable ``system`` and a macro
    ``user(query, documents)``; null is ``annotate/TASK``."""

    positive_above = 0.0

    def __post_init__(self) -> None:
        refuse(max_candidates=at_least(2, self.max_candidates), max_doc_tokens=at_least(1, self.max_doc_tokens))

    @property
    def templates(self) -> tuple[str, ...]:
        return (self.template or f"annotate/{self.task}",)

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        _messages(self)
        return {"docs": ingested, "queries": queries}

    def load(self, prepared: dict[str, Artifact]) -> _Annotating:
        return _Annotating(self, prepared)


class _Annotating:
    def __init__(self, settings: Annotator, prepared: dict[str, Artifact]) -> None:
        self.settings, self.prepared = settings, prepared
        self.system, self.write = _messages(settings)

    def prompts(self, item: Path) -> Iterator[Prompt]:
        pairs = read_shard(item, "pairs")
        queries = query_texts(self.prepared["queries"], pairs["query_id"].to_pylist())
        documents = doc_texts(self.prepared.values(), pairs["doc_id"].to_pylist())
        for query_id, rows in groupby(pairs.to_pylist(), key=lambda pair: pair["query_id"]):
            shown = self._shown(list(rows))
            yield Prompt(
                prompt_id=query_id,
                system=self.system,
                user=functools.partial(self._user, queries[query_id]),
                texts=tuple(documents[pair["doc_id"]] for pair in shown),
                sampling=_sampling(len(shown)),
                max_text_tokens=self.settings.max_doc_tokens,
                facts={"shown": [pair["pair_id"] for pair in shown]},
            )

    def _shown(self, pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        best = sorted(pairs, key=lambda pair: (min(pair["ranks"]), pair["pair_id"]))
        return sorted(best[: self.settings.max_candidates], key=lambda pair: pair["pair_id"])

    def _user(self, query: str, documents: Sequence[str]) -> str:
        return self.write(query=query, documents=documents)

    def read(self, answer: Answer) -> dict[str, float]:
        """The score of each pair shown, by pair_id."""
        shown = answer.facts["shown"]
        named = _named(answer)
        if not all(1 <= number <= len(shown) for number in named):
            raise Unusable("the answer names a document that was not shown")
        scores = dict.fromkeys(shown, 0.0)
        for place, number in enumerate(named):
            scores[shown[number - 1]] = 1 - place / len(shown) if self.settings.task == "rank" else 1.0
        return scores

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        pairs = read_shard(item, "pairs")
        columns = zip(pairs["query_id"].to_pylist(), pairs["pair_id"].to_pylist(), strict=True)
        left_out = Quarantined("", f"not among the query's first {self.settings.max_candidates} candidates")
        said = [(read[query_id], pair_id) for query_id, pair_id in columns]
        scores = [one if isinstance(one, Quarantined) else one.get(pair_id, left_out) for one, pair_id in said]
        return labels(pairs, scores, name_of(self.settings))


def _sampling(candidates: int) -> Sampling:
    """Greedy, and long enough for every number once; engines do not enforce that numbers differ."""
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


def _named(answer: Answer) -> list[int]:
    """Numbers in the answer, each once, in its order."""
    try:
        numbers = json.loads(answer.text)["relevant"]
    except (ValueError, KeyError, TypeError):
        reason = "the answer was cut off" if answer.finish == "length" else "the answer is not the JSON asked for"
        raise Unusable(reason) from None
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise Unusable("the answer is not the JSON asked for")
    return list(dict.fromkeys(numbers))


def _messages(settings: Annotator) -> tuple[str, Callable[..., str]]:
    return messages(*settings.templates, query="", documents=[""])
