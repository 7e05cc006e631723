"""An LLM writes queries about documents, in six kinds."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from gradret import prompts
from gradret.components import name_of, unknown
from gradret.config.fields import at_least, component, location, require
from gradret.draw import draw
from gradret.engines import Prompt, Sampling, Unusable
from gradret.errors import ConfigError
from gradret.generators import Generator
from gradret.generators._answers import one_line
from gradret.generators._faults import FORMS
from gradret.generators._filters import Filters, Query
from gradret.store.artifacts import read_shard
from gradret.store.results import Quarantined, Result
from gradret.text import passage

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.engines import Answer, Task
    from gradret.store.artifacts import Artifact

__all__ = ["LLMQueries"]

_FOLDERS = {"full": "queries", "small": "queries/small"}
_KINDS = ("question", "claim", "title", "keywords", "search_examples", "search")


@dataclass(frozen=True)
class LLMQueries(Generator):
    """One query per document and kind: question, claim, title, keywords, web search with or without examples.

    A prompt has the document, the kind's task, and examples drawn from the kind's pool by a hash of seed
    and query_id. The answer is one line. It is quarantined if it is empty, a refusal or cut off, or if one of
    ``filters`` finds a fault: docs/generation.md. query_id is ``doc_id~kind``.

    Source: Tamber et al. 2025 (2502.19712). Verified against the paper and the authors' code: the kinds,
    three examples per prompt, one query per document and kind, temperature 0.8, 50 tokens, and keeping one
    line without quotes. gradret's: all wording and examples, the document at the start of the prompt,
    truncation by tokens (the authors truncate at 2,048 characters), and the quarantine. The authors' search
    examples are human queries from MS MARCO; gradret's are invented, like all its examples.
    """

    asks_llm: ClassVar[bool] = True

    engine: Any = component("engines", {"name": "vllm"})
    """The engine that answers the prompts."""
    kinds: tuple[str, ...] = location(_KINDS)
    """Kinds to write. A path that ends in .jinja adds your own kind, named after the file, which sets
    ``task`` and ``examples`` like the files in gradret/prompts/queries."""
    prompts: Literal["full", "small"] = "full"
    """Wording of the built-in kinds and of the prompt around them: ``small`` is short, for models of about 1B
    parameters or fewer and for base models."""
    prompt: str = location("")
    """Another prompt around the task: a template, or a path that ends in .jinja, with a variable ``system``
    and a macro ``user(document, task, examples)``."""
    examples: int = 3
    """Examples per prompt, drawn from the kind's pool; all of them if the pool is smaller."""
    temperature: float = 0.8
    top_p: float = 1.0
    """Nucleus sampling: sample from the smallest set of tokens with this total probability."""
    max_tokens: int = 50
    """Maximum tokens per answer; an answer cut off within its line is quarantined."""
    max_doc_tokens: int = 512
    """Maximum tokens per document; the rest is truncated."""
    filters: Filters = Filters()
    """``prompt``, ``document``, ``form``, ...: thresholds from which on an answer is quarantined."""

    def __post_init__(self) -> None:
        if not self.kinds:
            raise ValueError("kinds must name at least one kind, got none")
        for kind in self.kinds:
            if not kind.endswith(".jinja") and kind not in _KINDS:
                raise ValueError(
                    f"kinds: {unknown(kind, list(_KINDS), 'a built-in kind or a file that ends in .jinja')}"
                )
            if not re.fullmatch(r"[\w-]+", _name(kind)):
                raise ValueError(f"kinds: a name may contain only letters, digits, _ and -, got {_name(kind)!r}")
        names = [_name(kind) for kind in self.kinds]
        if len(set(names)) < len(names):
            raise ValueError(f"kinds must have different names, got {', '.join(names)}")
        for kind in self.filters.extractive:
            if kind not in {*_KINDS, *names}:
                raise ValueError(f"filters.extractive: {unknown(kind, [*_KINDS, *names], 'the name of a kind')}")
        require(examples=at_least(0, self.examples), temperature=at_least(0, self.temperature))
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        require(**{name: at_least(1, getattr(self, name)) for name in ("max_tokens", "max_doc_tokens")})

    @property
    def templates(self) -> tuple[str, ...]:
        folder = _FOLDERS[self.prompts]
        kinds = (kind if kind.endswith(".jinja") else f"{folder}/{kind}" for kind in self.kinds)
        return (self.prompt or f"{folder}/_prompt", *kinds)

    def prepare(self, config: Config, ingested: Artifact, sample: Artifact) -> dict[str, Artifact]:
        """Check the templates; there is nothing to prepare.

        Raises:
            ConfigError: a template is missing, or lacks what its field requires.
        """
        self.load({}, 0, config.seed)
        return {}

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> Task:
        return _Task(self, seed)


class _Kind(NamedTuple):
    name: str
    task: str
    examples: list[dict[str, str]]
    form: str


class _Task:
    def __init__(self, settings: LLMQueries, seed: int) -> None:
        self.settings, self.seed = settings, seed
        around, *kinds = settings.templates
        self.kinds = {
            _name(kind): _kind(reference, _name(kind)) for kind, reference in zip(settings.kinds, kinds, strict=True)
        }
        self.system, self.message = prompts.messages(around, document="", task="", examples=[])
        self.sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature, top_p=settings.top_p)

    def prompts(self, item: Path) -> Iterator[Prompt]:
        for doc in read_shard(item, "docs").to_pylist():
            text = passage(doc["title"], doc["text"])
            for kind in self.kinds.values():
                prompt_id = _prompt_id(doc["doc_id"], kind.name)
                drawn = self._draw_examples(prompt_id, len(kind.examples))
                yield Prompt(
                    prompt_id,
                    self.system,
                    functools.partial(self._user, kind, drawn),
                    (text,),
                    self.sampling,
                    self.settings.max_doc_tokens,
                    {"kind": kind.name, "examples": drawn},
                )

    def read(self, answer: Answer) -> str:
        kind, drawn = self.kinds[answer.facts["kind"]], answer.facts["examples"]
        line = one_line(answer, kind.task)
        prompt = f"{self.system}\n{self._user(kind, drawn, [''])}"
        if fault := self.settings.filters.answer_fault(line, prompt, kind.form):
            raise Unusable(fault)
        return line

    def result(self, item: Path, read: Mapping[str, str | Quarantined]) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        queries: list[Query] = []
        unusable: list[Quarantined] = []
        for doc in read_shard(item, "docs").to_pylist():
            for kind in self.kinds:
                query_id = _prompt_id(doc["doc_id"], kind)
                text = read[query_id]
                if isinstance(text, Quarantined):
                    unusable.append(text)
                else:
                    queries.append(Query(query_id, text, kind, doc["doc_id"], passage(doc["title"], doc["text"])))
        faults = self.settings.filters.query_faults(queries)
        unusable += [
            Quarantined(each.query_id, faults[each.query_id], each.text) for each in queries if each.query_id in faults
        ]
        rows = [
            {
                "query_id": query.query_id,
                "text": query.text,
                "source_doc_id": query.doc_id,
                "kind": query.kind,
                "generator": name_of(self.settings),
            }
            for query in queries
            if query.query_id not in faults
        ]
        table = pa.Table.from_pylist(rows, schema("queries"))
        return Result({"queries": table}, len(rows) + len(unusable), len(rows), unusable)

    def _user(self, kind: _Kind, drawn: Sequence[int], texts: Sequence[str]) -> str:
        examples = [kind.examples[index] for index in drawn]
        return self.message(document=texts[0], task=kind.task, examples=examples)

    def _draw_examples(self, prompt_id: str, pool_size: int) -> list[int]:
        """Draw the indices of the prompt's examples from a pool of ``pool_size``."""
        lots = {index: draw("llm_queries", self.seed, prompt_id, index) for index in range(pool_size)}
        return sorted(lots, key=lots.__getitem__)[: self.settings.examples]


def _prompt_id(doc_id: str, kind: str) -> str:
    return f"{doc_id}~{kind}"


def _name(kind: str) -> str:
    return Path(kind).stem if kind.endswith(".jinja") else kind


def _kind(reference: str, name: str) -> _Kind:
    task, examples = prompts.exported(reference, "task", "examples")
    if not isinstance(task, str) or not task.strip():
        raise ConfigError(f"template {reference}: task must be text, got {task!r}")
    if not isinstance(examples, list):
        raise ConfigError(f"template {reference}: examples must be a list, [] for none, got {examples!r}")
    for number, example in enumerate(examples):
        texts = [example.get(key) for key in ("document", "query")] if isinstance(example, Mapping) else [None]
        if not all(isinstance(text, str) for text in texts):
            raise ConfigError(
                f"template {reference}: examples[{number}] must have texts document and query, got {example!r}"
            )
    form = getattr(prompts.template(reference).module, "form", "")
    if form and form not in FORMS:
        raise ConfigError(f"template {reference}: form must be one of {', '.join(FORMS)}, got {form!r}")
    return _Kind(name, task.strip(), examples, form)
