"""An LLM writes documents for a query, one at every grade of relevance."""

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
from gradret.generators._filters import DocumentFilters
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

_MIN_DOCUMENTS = 2
"""Fewest documents of a query that make a ranking."""


@dataclass(frozen=True)
class GradedDocuments(Generator):
    """One document per query and grade, from perfectly relevant to irrelevant.

    Writes QUERIES, DOCS and LABELS: document ``generated~QUERY_ID~GRADE`` has the score GRADE, 0 to
    levels - 1, and the best document is its query's source document. The documents are used for training
    only, never indexed. Mine them with the retriever ``generated``, label with the teacher ``generated``,
    train with ``wasserstein``.

    Answers are JSON of bounded length, enforced by constrained decoding; an answer that is cut off, or has
    an empty document, nearly the same one at two grades or a copy of the prompt, is quarantined. The random
    choices for a query (number of grades, length, difficulty, examples) are seeded by a hash of seed and
    query_id, are the same for all its documents, so that they differ only in their grade, and are stored with
    each answer.

    Source: SyCL (2503.23239); paper not available to us, and the released code has no generation.
    Verified in its data and code: grades 0 to 3, MS MARCO's training queries, Llama-3.3-70B-Instruct
    (also Qwen2.5), training on these documents only. Inferred from the data's size: one document per
    grade. Our reconstruction: the prompt, the definitions of the grades, one completion from best to worst,
    one example, lengths, difficulties and sampling.
    """

    asks_llm: ClassVar[bool] = True
    takes_queries: ClassVar[bool] = True

    engine: Any = component("engines", {"name": "vllm"})
    """The engine that answers the prompts."""
    queries: Any = component("generators", None)
    """A generator that writes queries from the corpus; null uses the dataset's training queries."""
    levels: tuple[int, ...] = (4,)
    """Numbers of grades; one is drawn per query. If they differ, scores are scaled to the largest."""
    mode: Literal["joint", "separate"] = "joint"
    """``joint`` writes all documents of a query in one completion, best first; ``separate`` one each."""
    prompt: str = location("documents/prompt")
    """Template with the macros ``system(definitions)`` and ``user(query, examples, levels, length,
    difficulty, grade)``; ``grade`` is none in joint mode."""
    definitions: str = location("documents/definitions")
    """Template that sets ``definitions``: for each number of grades, the meaning of each grade, best first."""
    pool: str = location("documents/examples")
    """Template that sets ``examples``, each with a ``query`` and its ``documents``, best first."""
    examples: int = 1
    """Examples per prompt, drawn from those of the pool with as many documents as there are grades."""
    lengths: tuple[int, ...] = (0, 2, 5, 10, 15)
    """Requested sentences per document; one value is drawn per query, 0 requests none."""
    difficulties: tuple[str, ...] = ("", "high school", "college", "PhD")
    """Requested level of the document's readers; one value is drawn per query, "" requests none."""
    temperature: float = 0.8
    top_p: float = 1.0
    """Nucleus sampling: sample from the smallest set of tokens with this total probability."""
    max_tokens: int = 2048
    """Maximum tokens per completion."""
    max_chars: int = 2000
    """Maximum characters per document."""
    max_queries: int = 100_000
    """Maximum number of queries, sampled by a hash of seed and query_id."""
    filters: DocumentFilters = DocumentFilters()
    """``prompt`` and ``similar``: thresholds from which on an answer is quarantined."""

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < _MIN_DOCUMENTS:
            raise ValueError(f"levels must be a list of numbers of at least {_MIN_DOCUMENTS}, got {list(self.levels)}")
        if not self.lengths or min(self.lengths) < 0:
            raise ValueError(f"lengths must be a list of numbers of at least 0, got {list(self.lengths)}")
        if not self.difficulties:
            raise ValueError('difficulties must not be empty; [""] requests no difficulty')
        if self.queries and self.queries.takes_queries:
            raise ValueError("queries must be a generator that writes queries, not one that takes them")
        for name, least in {"examples": 0, "max_tokens": 1, "max_chars": 1, "max_queries": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        require(temperature=at_least(0, self.temperature))
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    @property
    def documents_per_query(self) -> int:
        return max(self.levels)

    @property
    def templates(self) -> tuple[str, ...]:
        return (self.prompt, self.definitions, self.pool)

    def prepare(self, config: Config, ingested: Artifact, sample: Artifact) -> dict[str, Artifact]:
        """Return the dataset's training queries, or those that ``queries`` writes.

        Raises:
            ConfigError: a template is missing, or lacks what its field requires.
            DataError: the dataset has no training queries, and ``queries`` is null.
        """
        _Templates(self)
        if self.queries is None:
            return {"queries": training_queries(config)}
        first = replace(config, generate=replace(config.generate, generator=self.queries))
        return {"queries": generate(first, ingested, sample)}

    def drawn(self, prepared: dict[str, Artifact], seed: int) -> pa.Table:
        """Return the rows of QUERIES to write documents for."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = prepared["queries"].table("queries")
        query_ids = rows["query_id"].to_pylist()
        order = sorted((draw("graded_documents", "queries", seed, query_id), query_id) for query_id in query_ids)
        chosen = pa.array([query_id for _, query_id in order[: self.max_queries]], pa.string())
        return rows.filter(pc.is_in(rows["query_id"], value_set=chosen))

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> _Writer:
        return _Writer(self, seed)


class _Templates:
    """Loads the templates and tries each macro once.

    Raises:
        ConfigError: a template is incomplete, fails, or has no definitions for one of ``levels``.
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
                    f"template {settings.definitions}: definitions must have {levels} texts under {levels} for "
                    f"levels={list(settings.levels)}, got definitions for {list(defined)}; add them in a copy"
                )
        try:
            self.system(self.definitions[settings.levels[0]])
            self.user("", self.examples, settings.levels[0], 1, "", None)
        except (TemplateError, TypeError) as error:
            raise ConfigError(f"template {settings.prompt} with {settings.pool}: {error}") from error


class _Choices(NamedTuple):
    """The random choices for a query."""

    levels: int
    length: int
    difficulty: str
    examples: list[int]


class _Writer:
    """The Task over shards of QUERIES, with a prompt per query in joint mode, else per document."""

    def __init__(self, settings: GradedDocuments, seed: int) -> None:
        self.settings, self.seed, self.templates = settings, seed, _Templates(settings)

    def prompts(self, item: Path) -> Iterator[Prompt]:
        for query in read_shard(item, "queries").to_pylist():
            choices = self._choose(query["query_id"])
            for prompt_id, grades in self._prompt_ids(query["query_id"], choices.levels):
                yield self._prompt(prompt_id, query["text"], choices, grades)

    def read(self, answer: Answer) -> dict[int, str]:
        """Parse the documents, by grade.

        Raises:
            Unusable: the answer is not JSON, or a document is missing, empty, repeated, or a copy of the prompt.
        """
        parsed = json_object(answer)
        documents = {grade: document(parsed.get(self._key(grade))) for grade in answer.facts["grades"]}
        choices = _Choices(**{name: answer.facts[name] for name in _Choices._fields})
        instructions = f"{self._system(choices)}\n{self._user('', choices, answer.facts['grades'], examples=False)}"
        examples = self._examples(choices)
        shown = "\n".join(text for example in examples for text in example["documents"])
        if fault := self.settings.filters.fault(list(documents.values()), instructions, shown):
            raise Unusable(fault)
        return documents

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        tables: dict[str, list[dict[str, Any]]] = {"queries": [], "docs": [], "labels": []}
        quarantined: list[Quarantined] = []
        prompts = kept = 0
        for query in read_shard(item, "queries").to_pylist():
            levels = self._choose(query["query_id"]).levels
            prompt_ids = [prompt_id for prompt_id, _ in self._prompt_ids(query["query_id"], levels)]
            usable, unusable = _usable({prompt_id: read[prompt_id] for prompt_id in prompt_ids}, self.settings.filters)
            prompts, kept, quarantined = prompts + len(prompt_ids), kept + len(usable), quarantined + unusable
            documents = {grade: text for answer in usable.values() for grade, text in answer.items()}
            for table, rows in self._rows(query, documents, levels).items():
                tables[table] += rows
        results = {name: pa.Table.from_pylist(rows, schema(name)) for name, rows in tables.items()}
        return Result(results, prompts, kept, quarantined, {name: len(tables[name]) for name in ("queries", "docs")})

    def _choose(self, query_id: str) -> _Choices:
        settings = self.settings
        random = generator("graded_documents", "draw", self.seed, query_id)
        levels = settings.levels[random.integers(len(settings.levels))]
        length = settings.lengths[random.integers(len(settings.lengths))]
        difficulty = settings.difficulties[random.integers(len(settings.difficulties))]
        pool = [index for index, example in enumerate(self.templates.examples) if len(example["documents"]) == levels]
        picks = random.permutation(len(pool))[: settings.examples]
        return _Choices(levels, length, difficulty, [pool[pick] for pick in picks])

    def _prompt_ids(self, query_id: str, levels: int) -> list[tuple[str, list[int]]]:
        """Return the query's prompt_ids, each with the grades that it requests, best first."""
        grades = list(reversed(range(levels)))
        if self.settings.mode == "joint":
            return [(query_id, grades)]
        return [(f"{query_id}~{grade}", [grade]) for grade in grades]

    def _key(self, grade: int) -> str:
        return f"relevance_{grade}" if self.settings.mode == "joint" else "document"

    def _prompt(self, prompt_id: str, query: str, choices: _Choices, grades: list[int]) -> Prompt:
        settings = self.settings
        user = self._user(query, choices, grades)
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
            system=self._system(choices),
            user=lambda _: user,
            texts=(),
            sampling=Sampling(
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                json_schema=schema,
            ),
            facts={"mode": settings.mode, "grades": grades, **choices._asdict()},
        )

    def _system(self, choices: _Choices) -> str:
        return str(self.templates.system(self.templates.definitions[choices.levels])).strip()

    def _examples(self, choices: _Choices) -> list[dict[str, Any]]:
        return [self.templates.examples[index] for index in choices.examples]

    def _user(self, query: str, choices: _Choices, grades: list[int], *, examples: bool = True) -> str:
        shown = self._examples(choices) if examples else []
        grade = None if self.settings.mode == "joint" else grades[0]
        user = self.templates.user(query, shown, choices.levels, choices.length, choices.difficulty, grade)
        return str(user).strip()

    def _rows(
        self, query: dict[str, Any], documents: Mapping[int, str], levels: int
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the query's rows of each table; none if it has no documents."""
        if not documents:
            return {}
        query_id, origin = query["query_id"], name_of(self.settings)
        doc_ids = {grade: f"{GENERATED}{query_id}~{grade}" for grade in documents}
        scale = (max(self.settings.levels) - 1) / (levels - 1)
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
                    "score": grade * scale,
                }
                for grade, doc_id in doc_ids.items()
            ],
        }


def _usable(
    read: Mapping[str, dict[int, str] | Quarantined], filters: DocumentFilters
) -> tuple[dict[str, dict[int, str]], list[Quarantined]]:
    """Split the answers about one query, by prompt_id, into those usable together and the quarantined."""
    usable: dict[str, dict[int, str]] = {}
    quarantined: list[Quarantined] = []
    seen: list[str] = []
    for prompt_id, documents in read.items():
        if isinstance(documents, Quarantined):
            quarantined.append(documents)
            continue
        if filters.repeats([*seen, *documents.values()]):
            quarantined.append(Quarantined(prompt_id, "the same document at two grades", json.dumps(documents)))
            continue
        seen += documents.values()
        usable[prompt_id] = documents
    if len(seen) >= _MIN_DOCUMENTS:
        return usable, quarantined
    reason = f"fewer than {_MIN_DOCUMENTS} documents of the query"
    quarantined += [Quarantined(prompt_id, reason, json.dumps(documents)) for prompt_id, documents in usable.items()]
    return {}, quarantined
