"""List the stages of a config that prompt a language model, with their number of prompts and a sample of them.

Nothing is generated: prompts are built for documents drawn by a hash of their ids. Output of an earlier stage that
prompts a model does not exist yet, so placeholders stand in for it, and ``notes`` describe them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gradret.components import name_of
from gradret.draw import draw
from gradret.errors import ConfigError
from gradret.pairs import pair_id
from gradret.retrievers.random import Random
from gradret.stages.check import DEPTH
from gradret.stages.training_queries import any_training_queries
from gradret.store.artifacts import Artifact, write_shard
from gradret.text import passage, pieces

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.engines import Engine, Prompt, Row, Task
    from gradret.flow import Flow

__all__ = ["SAMPLE", "Job", "Planned", "planned"]

SAMPLE = 64
"""Number of input rows of a stage for which prompts are built."""
_QUERY_WORDS = 12
# Sampled queries of the teacher check; each has many documents.
_CHECK_QUERIES = 4


@dataclass(frozen=True)
class Job:
    """A stage that prompts a language model, with the prompts of a sample of its input."""

    stage: str
    component: Any
    """The generator or teacher."""
    rows: int
    """Number of rows of the whole input: documents or queries; all pairs of a query are one row."""
    item: Path
    """The sample, as a shard of the input."""
    sampled: int
    """Number of rows of the sample."""
    load: Callable[[], Task]
    prompts: tuple[Prompt, ...]
    """All prompts of the sample."""
    at_most: bool = False
    """Whether ``rows`` is an upper bound."""
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The column that identifies a row."""
        return "doc_id" if self.item.parent.name == "docs" else "query_id"

    @property
    def engine(self) -> Engine:
        """The engine that answers."""
        engine: Engine = self.component.engine
        return engine

    @property
    def total(self) -> int:
        """Number of prompts of the whole input, extrapolated from the sample."""
        return round(len(self.prompts) / self.sampled * self.rows)


class _Rows(NamedTuple):
    """Input of a stage: a sample, and the number of all rows."""

    sample: list[Row]
    total: int
    """Number of all rows."""
    at_most: bool
    """Whether ``total`` is an upper bound."""
    notes: tuple[str, ...]


class Planned(NamedTuple):
    """The stages that prompt a language model, in the order of the flow, and what all stages work on."""

    jobs: list[Job]
    queries: int
    """Number of training queries, at most."""
    pairs: int | None
    """Number of pairs to score, at most; None if a retriever does not declare how many documents it returns."""
    words: float
    """Mean words per document of the sample."""


def planned(config: Config, flow: Flow, folder: Path) -> Planned:
    """Build the prompts of a sample, and count what the stages work on.

    Args:
        config: the run's config.
        flow: the run's stages; ``ingest`` and ``dedupe`` are run.
        folder: folder for the samples; jobs refer to it.

    Raises:
        ConfigError: a retriever does not declare how many documents it returns, and a language model grades them.
        DataError: the dataset cannot be used.
    """
    planner = _Planner(config, flow, folder)
    queries = planner.generate("generate", config.generate.generator)
    if config.generate.training_queries and (human := any_training_queries(config)):
        drawn = {query["generator"] for query in queries.sample} == {"human"}
        queries = queries._replace(total=human.counts["queries"] + (0 if drawn else queries.total))
    if config.label.teacher.asks_llm:
        if config.label.teacher.reranks and config.check.queries:
            planner.check(config.label.teacher, queries)
        planner.label(config.label.teacher, queries)
    return Planned(planner.jobs, queries.total, planner.pairs(queries.total), planner.words)


class _Planner:
    def __init__(self, config: Config, flow: Flow, folder: Path) -> None:
        self.config, self.flow, self.folder = config, flow, folder.absolute()
        self.jobs: list[Job] = []
        self.docs = _documents(flow, config.seed)
        self.total: int = flow.dedupe.counts["sampled"]

    @property
    def words(self) -> float:
        """Mean words per document of the sample."""
        words = (len(passage(doc["title"], doc["text"]).split()) for doc in self.docs)
        return float(sum(words) / max(1, len(self.docs)))

    def pairs(self, queries: int) -> int | None:
        """The largest number of pairs for this many queries; None if a retriever does not declare its number."""
        most = [each.max_documents(self.config, self.flow.cut) for each in self.config.mine.retrievers]
        return None if None in most else queries * min(sum(most), self.flow.cut.counts["rows_out"])

    def generate(self, stage: str, generator: Any) -> _Rows:
        """Add the jobs of a generator; returns the queries that it yields."""
        if not generator.asks_llm:
            return self._without_llm(generator)
        return self._documents(stage, generator) if generator.takes_queries else self._queries(stage, generator)

    def check(self, teacher: Any, queries: _Rows) -> None:
        """Add the job of the teacher check, with generated queries as placeholders for its queries."""
        sample = queries._replace(sample=queries.sample[:_CHECK_QUERIES], at_most=True)
        total = min(self.config.check.queries, queries.total)
        depth, what = min(DEPTH, teacher.depth or DEPTH), "documents per query of the teacher check"
        self._grading("check", teacher.for_check(), sample._replace(total=total), depth, what)

    def label(self, teacher: Any, queries: _Rows) -> None:
        """Add the job of a teacher that grades each query's candidates."""
        most = sum(map(self._max_docs, range(len(self.config.mine.retrievers))))
        what = "candidates per query, the most that mine.retrievers return together"
        self._grading("label", teacher, queries._replace(at_most=True), most, what)

    def _grading(self, stage: str, teacher: Any, queries: _Rows, most: int, what: str) -> None:
        most = min(most, self.flow.cut.counts["rows_out"])
        item = self._shard(stage, "pairs", self._pairs(queries.sample, most))
        self._shard("planned", "queries", queries.sample)
        planned = Artifact("generate", "planned", self.folder / "planned", {"counts": {}})
        # Prepare in the temporary folder, so that artifacts of placeholder queries are deleted with them.
        prepared = teacher.prepare(replace(self.config, storage_path=str(self.folder)), self.flow.cut, planned)
        load = functools.partial(teacher.load, prepared)
        notes = (*queries.notes, f"{most} {what}, drawn at random")
        self._add(stage, teacher, item, load, queries._replace(notes=notes))

    def _without_llm(self, generator: Any) -> _Rows:
        """Queries of a generator without a language model: drawn by it, or generated for the sample."""
        prepared = generator.prepare(self.config, self.flow.cut, self.flow.dedupe)
        if generator.takes_queries:
            rows = generator.drawn(prepared, self.config.seed)
            return _Rows(self._drawn(rows.to_pylist()), rows.num_rows, at_most=False, notes=())
        write = generator.load(prepared, self.total, self.config.seed)
        rows = [
            _query(f"{doc['doc_id']}~{number}", query.text, doc["doc_id"], query.kind)
            for doc in self.docs
            for number, query in enumerate(write(doc["doc_id"], doc["title"] or "", doc["text"]))
        ]
        total = round(len(rows) / len(self.docs) * self.total)
        exact = len(self.docs) == self.total
        notes = () if exact else (f"number of queries extrapolated from {len(self.docs)} documents",)
        return _Rows(self._drawn(rows), total, at_most=False, notes=notes)

    def _queries(self, stage: str, generator: Any) -> _Rows:
        """Queries from a language model, which do not exist yet: the first words of documents are placeholders."""
        prepared = generator.prepare(self.config, self.flow.cut, self.flow.dedupe)
        load = functools.partial(generator.load, prepared, self.total, self.config.seed)
        docs = _Rows(self.docs, self.total, at_most=False, notes=())
        job = self._add(stage, generator, self._shard(stage, "docs", self.docs), load, docs)
        rows = [
            _query(
                doc["doc_id"], "".join(pieces(passage(doc["title"], doc["text"]))[:_QUERY_WORDS]).strip(), doc["doc_id"]
            )
            for doc in self.docs
        ]
        notes = (f"the first {_QUERY_WORDS} words of documents stand in for queries",)
        return _Rows(rows, job.total, at_most=True, notes=notes)

    def _documents(self, stage: str, generator: Any) -> _Rows:
        """Queries for which a language model generates documents."""
        if generator.queries is not None and generator.queries.asks_llm:
            queries = self.generate(f"{stage}.queries", generator.queries)
            prepared: dict[str, Artifact] = {}
        else:
            prepared = generator.prepare(self.config, self.flow.cut, self.flow.dedupe)
            rows = generator.drawn(prepared, self.config.seed)
            queries = _Rows(self._drawn(rows.to_pylist()), rows.num_rows, at_most=False, notes=())
        queries = queries._replace(total=min(queries.total, generator.max_queries))
        load = functools.partial(generator.load, prepared, self.total, self.config.seed)
        item = self._shard(stage, "queries", queries.sample)
        self._add(stage, generator, item, load, queries)
        return queries

    def _add(self, stage: str, component: Any, item: Path, load: Callable[[], Task], rows: _Rows) -> Job:
        prompts = tuple(load().prompts(item))
        job = Job(stage, component, rows.total, item, len(rows.sample), load, prompts, rows.at_most, rows.notes)
        self.jobs.append(job)
        return job

    def _pairs(self, queries: list[Row], most: int) -> list[Row]:
        draw = Random(most).load({"docs": self.flow.cut}, self.config.seed)
        rows = [
            {
                "pair_id": pair_id(query["query_id"], doc_id),
                "query_id": query["query_id"],
                "doc_id": doc_id,
                "origins": [],
                "ranks": [rank],
            }
            for query, drawn in zip(queries, draw(queries), strict=True)
            for doc_id, rank in drawn
        ]
        return sorted(rows, key=lambda row: (row["query_id"], row["doc_id"]))

    def _max_docs(self, number: int) -> int:
        """The largest number of documents that a retriever returns for a query."""
        retriever = self.config.mine.retrievers[number]
        most: int | None = retriever.max_documents(self.config, self.flow.cut)
        if most is None:
            raise ConfigError(
                f"mine.retrievers[{number}]: {name_of(retriever)} declares neither k nor max_documents, so "
                "the number of its pairs is unknown before it runs; set k or declare one of them"
            )
        return most

    def _drawn(self, queries: list[Row]) -> list[Row]:
        chosen = _first((query["query_id"] for query in queries), self.config.seed)
        return [query for query in queries if query["query_id"] in chosen]

    def _shard(self, name: str, table: str, rows: list[Row]) -> Path:
        import pyarrow as pa

        from gradret.store.contracts import schema

        path = self.folder / name / table / "part-00000.parquet"
        write_shard(path, pa.Table.from_pylist(rows, schema(table)), table)
        return path


def _documents(flow: Flow, seed: int) -> list[Row]:
    chosen = _first(flow.dedupe.table("sample")["doc_id"].to_pylist(), seed)
    # Not filtered by Arrow, which imports pandas to convert the ids.
    return [
        row
        for docs in flow.cut.batches("docs")
        for number, doc_id in enumerate(docs["doc_id"].to_pylist())
        if doc_id in chosen
        for row in docs.slice(number, 1).to_pylist()
    ]


def _first(ids: Iterable[str], seed: int) -> set[str]:
    """Draw ``SAMPLE`` of ``ids``, independent of their order."""
    return set(sorted(ids, key=lambda each: draw("plan", seed, each))[:SAMPLE])


def _query(query_id: str, text: str, doc_id: str, kind: str | None = None) -> Row:
    return {
        "query_id": query_id,
        "text": text,
        "split": None,
        "source_doc_id": doc_id,
        "kind": kind,
        "generator": "plan",
    }
