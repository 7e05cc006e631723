"""Documents for queries, written by an LLM at every grade of relevance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from gradret import prompts
from gradret.components import name_of
from gradret.config.fields import at_least, component, location, require
from gradret.draw import draw, generator
from gradret.engines import Answer, Prompt, Sampling, Unusable
from gradret.errors import ConfigError
from gradret.generators import Generator
from gradret.generators._answers import document, json_object
from gradret.pairs import pair_id
from gradret.stages.generate import generate
from gradret.stages.training_queries import training_queries
from gradret.store.artifacts import read_shard
from gradret.store.contracts import GENERATED
from gradret.store.results import Quarantined, Result

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["GradedDocuments"]

_FEWEST = 2
"""Documents that a query must have to be ranked."""


@dataclass(frozen=True)
class GradedDocuments(Generator):
    """For each query one document a grade, from perfectly relevant down to irrelevant.

    Gives QUERIES, DOCS and LABELS: document ``generated~QUERY_ID~GRADE`` has the score GRADE, 0 to
    levels - 1, and the best one is its query's source document. The documents are trained with and
    never indexed. Mine them with the retriever ``generated``, label with the teacher ``generated``,
    train with ``wasserstein``.

    Answers are JSON of bounded length, enforced while they are drawn; what is cut off, empty, or the
    same at two grades is quarantined. What was drawn for a query (number of grades, length,
    difficulty, examples) follows from a hash of seed and query_id, is the same for all its documents,
    so that nothing but the grade tells them apart, and is kept beside each answer.

    Source: SyCL (2503.23239), paper not available to us; the released code has no generation.
    Verified, in its data and code: grades 0 to 3, MS MARCO's training queries, Llama-3.3-70B-Instruct
    (Qwen2.5 too), training on these documents alone. Inferred from its size: one document a grade. A
    reconstruction, here in our own words: the prompt, what the grades mean, one completion from best
    to worst, one example, lengths, difficulties and sampling.
    """

    asks_llm: ClassVar[bool] = True
    takes_queries: ClassVar[bool] = True

    engine: Any = component("engines", {"name": "vllm"})
    """Who answers."""
    queries: Any = component("generators", None)
    """A generator that writes the queries, from the corpus; null takes the dataset's training queries."""
    levels: tuple[int, ...] = (4,)
    """Numbers of grades, one drawn a query. Where they differ, scores are stretched to the largest."""
    mode: Literal["joint", "separate"] = "joint"
    """All documents of a query in one completion, from best to worst; or a completion each."""
    prompt: str = location("documents/prompt")
    """Template with the macros ``system(definitions)`` and ``user(query, examples, levels, length,
    difficulty, grade)``; ``grade`` is none in joint mode."""
    definitions: str = location("documents/definitions")
    """Template that sets ``definitions``: by number of grades, what each means, best first."""
    pool: str = location("documents/examples")
    """Template that sets ``examples``: each a ``query`` and its ``documents``, best first."""
    examples: int = 1
    """Examples a prompt, drawn from those of the pool that have as many documents as there are grades."""
    lengths: tuple[int, ...] = (0, 2, 5, 10, 15)
    """Sentences a document is to have, one drawn a query; 0 says nothing."""
    difficulties: tuple[str, ...] = ("", "high school", "college", "PhD")
    """Level of the readers that a document is for, one drawn a query; "" says nothing."""
    temperature: float = 0.8
    top_p: float = 1.0
    """The smallest set of tokens with this much probability is drawn from."""
    max_tokens: int = 2048
    """Of a completion."""
    max_chars: int = 2000
    """Of a document."""
    max_queries: int = 100_000
    """At most this many, drawn by a hash of seed and query_id."""

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < _FEWEST:
            raise ValueError(f"levels must be one or more numbers from {_FEWEST} up: {list(self.levels)}")
        if not self.lengths or min(self.lengths) < 0:
            raise ValueError(f"lengths must be one or more numbers from 0 up: {list(self.lengths)}")
        if not self.difficulties:
            raise ValueError('difficulties must not be empty: [""] says nothing of them')
        if self.queries and self.queries.takes_queries:
            raise ValueError("queries must be a generator that writes queries, not documents")
        for name, least in {"examples": 0, "max_tokens": 1, "max_chars": 1, "max_queries": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more: {getattr(self, name)}")
        require(temperature=at_least(0, self.temperature))
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1: {self.top_p}")

    @property
    def templates(self) -> tuple[str, ...]:
        return (self.prompt, self.definitions, self.pool)

    def prepare(self, config: Config, ingested: Artifact, sample: Artifact) -> dict[str, Artifact]:
        """The queries: the dataset's, or those that ``queries`` writes.

        Raises:
            ConfigError: a template is missing, or is not what its place wants.
            DataError: the dataset has no training queries, and ``queries`` is null.
        """
        _Words(self)
        if self.queries is None:
            return {"queries": training_queries(config)}
        first = replace(config, generate=replace(config.generate, generator=self.queries))
        return {"queries": generate(first, ingested, sample)}

    def drawn(self, prepared: dict[str, Artifact], seed: int) -> pa.Table:
        """QUERIES to write documents for."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = prepared["queries"].table("queries")
        query_ids = rows["query_id"].to_pylist()
        order = sorted((draw("graded_documents", "queries", seed, query_id), query_id) for query_id in query_ids)
        chosen = pa.array([query_id for _, query_id in order[: self.max_queries]], pa.string())
        return rows.filter(pc.is_in(rows["query_id"], value_set=chosen))

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> _Writer:
        return _Writer(self, seed)


class _Words:
    """What the templates hold, each macro tried once.

    Raises:
        ConfigError: a template lacks something, fails, or does not define a number of grades.
    """

    def __init__(self, settings: GradedDocuments) -> None:
        from jinja2 import TemplateError

        self.system, self.user = prompts.exported(settings.prompt, "system", "user")
        (self.definitions,) = prompts.exported(settings.definitions, "definitions")
        (self.examples,) = prompts.exported(settings.pool, "examples")
        defined = self.definitions if isinstance(self.definitions, Mapping) else {}
        for levels in settings.levels:
            if len(defined.get(levels, ())) != levels:
                raise ConfigError(
                    f"template {settings.definitions}: definitions must hold {levels} texts under {levels}, as "
                    f"levels={list(settings.levels)} asks; it has {list(defined)}. Add them in a copy"
                )
        try:
            self.system(self.definitions[settings.levels[0]])
            self.user("", self.examples, settings.levels[0], 1, "", None)
        except (TemplateError, TypeError) as error:
            raise ConfigError(f"template {settings.prompt} with {settings.pool}: {error}") from error


class _Draw(NamedTuple):
    """What was drawn for a query."""

    levels: int
    length: int
    difficulty: str
    examples: list[int]


class _Writer:
    """The Task, over shards of QUERIES. A prompt is a query in joint mode, one of its documents otherwise."""

    def __init__(self, settings: GradedDocuments, seed: int) -> None:
        self.settings, self.seed, self.words = settings, seed, _Words(settings)

    def prompts(self, item: Path) -> Iterator[Prompt]:
        for query in read_shard(item, "queries").to_pylist():
            draw = self._draw(query["query_id"])
            for prompt_id, grades in self._asked(query["query_id"], draw.levels):
                yield self._prompt(prompt_id, query["text"], draw, grades)

    def read(self, answer: Answer) -> dict[int, str]:
        """Documents by grade.

        Raises:
            Unusable: it is no JSON, or a document is missing, empty, there twice or an example's.
        """
        texts = json_object(answer)
        documents = {grade: document(texts.get(self._key(grade))) for grade in answer.facts["grades"]}
        plain = set(map(_plain, documents.values()))
        if len(plain) < len(documents):
            raise Unusable("the same document at two grades")
        examples = (self.words.examples[place]["documents"] for place in answer.facts["examples"])
        if not plain.isdisjoint(_plain(text) for documents in examples for text in documents):
            raise Unusable("copy of an example")
        return documents

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        tables: dict[str, list[dict[str, Any]]] = {"queries": [], "docs": [], "labels": []}
        bad: list[Quarantined] = []
        prompts = kept = 0
        for query in read_shard(item, "queries").to_pylist():
            levels = self._draw(query["query_id"]).levels
            asked = [prompt_id for prompt_id, _ in self._asked(query["query_id"], levels)]
            good, aside = _usable({prompt_id: read[prompt_id] for prompt_id in asked})
            prompts, kept, bad = prompts + len(asked), kept + len(good), bad + aside
            documents = {grade: text for some in good.values() for grade, text in some.items()}
            for table, rows in self._rows(query, documents, levels).items():
                tables[table] += rows
        made = {name: pa.Table.from_pylist(rows, schema(name)) for name, rows in tables.items()}
        return Result(made, prompts, kept, bad, {name: len(tables[name]) for name in ("queries", "docs")})

    def _draw(self, query_id: str) -> _Draw:
        settings, words = self.settings, self.words
        picked = generator("graded_documents", "draw", self.seed, query_id)
        levels = settings.levels[picked.integers(len(settings.levels))]
        length = settings.lengths[picked.integers(len(settings.lengths))]
        difficulty = settings.difficulties[picked.integers(len(settings.difficulties))]
        pool = [place for place, example in enumerate(words.examples) if len(example["documents"]) == levels]
        picks = picked.permutation(len(pool))[: settings.examples]
        return _Draw(levels, length, difficulty, [pool[pick] for pick in picks])

    def _asked(self, query_id: str, levels: int) -> list[tuple[str, list[int]]]:
        """The query's prompts: prompt_id and the grades that it asks for, best first."""
        grades = list(reversed(range(levels)))
        if self.settings.mode == "joint":
            return [(query_id, grades)]
        return [(f"{query_id}~{grade}", [grade]) for grade in grades]

    def _key(self, grade: int) -> str:
        return f"relevance_{grade}" if self.settings.mode == "joint" else "document"

    def _prompt(self, prompt_id: str, query: str, draw: _Draw, grades: list[int]) -> Prompt:
        settings, words = self.settings, self.words
        grade = None if settings.mode == "joint" else grades[0]
        examples = [words.examples[place] for place in draw.examples]
        user = str(words.user(query, examples, draw.levels, draw.length, draw.difficulty, grade)).strip()
        keys = [self._key(grade) for grade in grades]
        text = {"type": "string", "minLength": 1, "maxLength": settings.max_chars}
        schema = {
            "type": "object",
            "properties": dict.fromkeys(keys, text),
            "required": keys,
            "additionalProperties": False,
        }
        return Prompt(
            prompt_id=prompt_id,
            system=str(words.system(words.definitions[draw.levels])).strip(),
            user=lambda _: user,
            texts=(),
            sampling=Sampling(
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                json_schema=schema,
            ),
            facts={"mode": settings.mode, "grades": grades, **draw._asdict()},
        )

    def _rows(
        self, query: dict[str, Any], documents: Mapping[int, str], levels: int
    ) -> dict[str, list[dict[str, Any]]]:
        """The query's rows of each table; none where it has no documents."""
        if not documents:
            return {}
        query_id, origin = query["query_id"], name_of(self.settings)
        doc_ids = {grade: f"{GENERATED}{query_id}~{grade}" for grade in documents}
        stretch = (max(self.settings.levels) - 1) / (levels - 1)
        return {
            "queries": [query | {"source_doc_id": doc_ids.get(levels - 1)}],
            "docs": [
                {"doc_id": doc_ids[grade], "title": None, "text": text, "origin": origin}
                for grade, text in documents.items()
            ],
            "labels": [
                {
                    "pair_id": pair_id(query_id, doc_id),
                    "query_id": query_id,
                    "doc_id": doc_id,
                    "source": "generated",
                    "score": grade * stretch,
                }
                for grade, doc_id in doc_ids.items()
            ],
        }


def _usable(
    read: Mapping[str, dict[int, str] | Quarantined],
) -> tuple[dict[str, dict[int, str]], list[Quarantined]]:
    """The answers about one query that can be used together, by prompt_id, and the others."""
    good: dict[str, dict[int, str]] = {}
    bad: list[Quarantined] = []
    seen: set[str] = set()
    for prompt_id, documents in read.items():
        if isinstance(documents, Quarantined):
            bad.append(documents)
            continue
        plain = set(map(_plain, documents.values()))
        if plain & seen:
            bad.append(Quarantined(prompt_id, "the same document at two grades", json.dumps(documents)))
            continue
        seen |= plain
        good[prompt_id] = documents
    if len(seen) >= _FEWEST:
        return good, bad
    reason = f"fewer than {_FEWEST} documents of the query"
    return {}, bad + [Quarantined(prompt_id, reason, json.dumps(documents)) for prompt_id, documents in good.items()]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
