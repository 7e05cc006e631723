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
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.engines import Engine, Prompt, Task
    from gradret.flow import Flow

__all__ = ["SAMPLE", "Job", "asks", "jobs"]

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

    sample: pa.Table
    total: int
    """Number of all rows."""
    at_most: bool
    """Whether ``total`` is an upper bound."""
    notes: tuple[str, ...]

    @property
    def number(self) -> int:
        """Number of rows of the sample."""
        return int(self.sample.num_rows)


def asks(config: Config) -> bool:
    """Whether a stage of the config prompts a language model."""
    return bool(config.generate.generator.asks_llm or config.label.teacher.asks_llm)


def jobs(config: Config, flow: Flow, folder: Path) -> list[Job]:
    """The stages that prompt a language model, in the order of the flow.

    Args:
        config: the run's config.
        flow: the run's stages; ``ingest`` and ``dedupe`` are run.
        folder: folder for the samples; jobs refer to it.

    Raises:
        ConfigError: a retriever does not declare how many documents it returns.
        DataError: the dataset cannot be used.
    """
    planner = _Planner(config, flow, folder)
    queries = planner.generate("generate", config.generate.generator)
    if config.generate.training_queries and (human := any_training_queries(config)):
        drawn = set(queries.sample["generator"].to_pylist()) == {"human"}
        queries = queries._replace(total=human.counts["queries"] + (0 if drawn else queries.total))
    if config.label.teacher.asks_llm:
        if config.label.teacher.reranks and config.check.queries:
            planner.check(config.label.teacher, queries)
        planner.label(config.label.teacher, queries)
    return planner.jobs


class _Planner:
    def __init__(self, config: Config, flow: Flow, folder: Path) -> None:
        self.config, self.flow, self.folder = config, flow, folder.absolute()
        self.jobs: list[Job] = []
        self.docs = _documents(flow, config.seed)
        self.total: int = flow.dedupe.counts["sampled"]

    def generate(self, stage: str, generator: Any) -> _Rows:
        """Add the jobs of a generator; returns the queries that it yields."""
        if not generator.asks_llm:
            return self._without_llm(generator)
        return self._documents(stage, generator) if generator.takes_queries else self._queries(stage, generator)

    def check(self, teacher: Any, queries: _Rows) -> None:
        """Add the job of the teacher check, with generated queries as placeholders for its queries."""
        sample = queries._replace(sample=queries.sample.slice(0, _CHECK_QUERIES), at_most=True)
        total = min(self.config.check.queries, queries.total)
        self._grading("check", teacher, sample._replace(total=total), DEPTH, "documents per query of the teacher check")

    def label(self, teacher: Any, queries: _Rows) -> None:
        """Add the job of a teacher that grades each query's candidates."""
        most = sum(map(self._max_docs, range(len(self.config.mine.retrievers))))
        what = "candidates per query, the most that mine.retrievers return together"
        self._grading("label", teacher, queries._replace(at_most=True), most, what)

    def _grading(self, stage: str, teacher: Any, queries: _Rows, most: int, what: str) -> None:
        most = min(most, self.flow.ingest.counts["rows_out"])
        item = self._shard(stage, "pairs", self._pairs(queries.sample, most))
        self._shard("planned", "queries", queries.sample)
        planned = Artifact("generate", "planned", self.folder / "planned", {"counts": {}})
        # Prepare in the temporary folder, so that artifacts of placeholder queries are deleted with them.
        prepared = teacher.prepare(replace(self.config, storage_path=str(self.folder)), self.flow.ingest, planned)
        load = functools.partial(teacher.load, prepared)
        notes = (*queries.notes, f"{most} {what}, drawn at random")
        self._add(stage, teacher, item, load, queries._replace(notes=notes))

    def _without_llm(self, generator: Any) -> _Rows:
        """Queries of a generator without a language model: drawn by it, or generated for the sample."""
        prepared = generator.prepare(self.config, self.flow.ingest, self.flow.dedupe)
        if generator.takes_queries:
            rows = generator.drawn(prepared, self.config.seed)
            return _Rows(self._drawn(rows), rows.num_rows, at_most=False, notes=())
        write = generator.load(prepared, self.total, self.config.seed)
        rows = [
            _query(f"{doc['doc_id']}~{number}", query.text, doc["doc_id"], query.kind)
            for doc in self.docs.to_pylist()
            for number, query in enumerate(write(doc["doc_id"], doc["title"] or "", doc["text"]))
        ]
        total = round(len(rows) / self.docs.num_rows * self.total)
        exact = self.docs.num_rows == self.total
        notes = () if exact else (f"number of queries extrapolated from {self.docs.num_rows} documents",)
        return _Rows(self._drawn(_table(rows)), total, at_most=False, notes=notes)

    def _queries(self, stage: str, generator: Any) -> _Rows:
        """Queries from a language model, which do not exist yet: the first words of documents are placeholders."""
        prepared = generator.prepare(self.config, self.flow.ingest, self.flow.dedupe)
        load = functools.partial(generator.load, prepared, self.total, self.config.seed)
        docs = _Rows(self.docs, self.total, at_most=False, notes=())
        job = self._add(stage, generator, self._shard(stage, "docs", self.docs), load, docs)
        rows = [
            _query(
                doc["doc_id"], "".join(pieces(passage(doc["title"], doc["text"]))[:_QUERY_WORDS]).strip(), doc["doc_id"]
            )
            for doc in self.docs.to_pylist()
        ]
        notes = (f"the first {_QUERY_WORDS} words of documents stand in for queries",)
        return _Rows(_table(rows), job.total, at_most=True, notes=notes)

    def _documents(self, stage: str, generator: Any) -> _Rows:
        """Queries for which a language model generates documents."""
        if generator.queries is not None and generator.queries.asks_llm:
            queries = self.generate(f"{stage}.queries", generator.queries)
            prepared: dict[str, Artifact] = {}
        else:
            prepared = generator.prepare(self.config, self.flow.ingest, self.flow.dedupe)
            rows = generator.drawn(prepared, self.config.seed)
            queries = _Rows(self._drawn(rows), rows.num_rows, at_most=False, notes=())
        queries = queries._replace(total=min(queries.total, generator.max_queries))
        load = functools.partial(generator.load, prepared, self.total, self.config.seed)
        item = self._shard(stage, "queries", queries.sample)
        self._add(stage, generator, item, load, queries)
        return queries

    def _add(self, stage: str, component: Any, item: Path, load: Callable[[], Task], rows: _Rows) -> Job:
        prompts = tuple(load().prompts(item))
        job = Job(stage, component, rows.total, item, rows.number, load, prompts, rows.at_most, rows.notes)
        self.jobs.append(job)
        return job

    def _pairs(self, queries: pa.Table, most: int) -> pa.Table:
        import pyarrow as pa

        from gradret.store.contracts import schema

        draw = Random(most).load({"docs": self.flow.ingest}, self.config.seed)
        rows = [
            {
                "pair_id": pair_id(query_id, doc_id),
                "query_id": query_id,
                "doc_id": doc_id,
                "origins": [],
                "ranks": [rank],
            }
            for query_id, drawn in zip(queries["query_id"].to_pylist(), draw(queries.to_pylist()), strict=True)
            for doc_id, rank in drawn
        ]
        return pa.Table.from_pylist(rows, schema("pairs")).sort_by([("query_id", "ascending"), ("doc_id", "ascending")])

    def _max_docs(self, number: int) -> int:
        """The largest number of documents that a retriever returns for a query."""
        retriever = self.config.mine.retrievers[number]
        most: int | None = retriever.max_documents(self.config, self.flow.ingest)
        if most is None:
            raise ConfigError(
                f"mine.retrievers[{number}]: {name_of(retriever)} declares neither k nor max_documents, so "
                "the number of its pairs is unknown before it runs; set k or declare one of them"
            )
        return most

    def _drawn(self, queries: pa.Table) -> pa.Table:
        return _rows(queries, "query_id", _first(queries["query_id"].to_pylist(), self.config.seed))

    def _shard(self, name: str, table: str, rows: pa.Table) -> Path:
        path = self.folder / name / table / "part-00000.parquet"
        write_shard(path, rows, table)
        return path


def _documents(flow: Flow, seed: int) -> pa.Table:
    import pyarrow as pa

    chosen = _first(flow.dedupe.table("sample")["doc_id"].to_pylist(), seed)
    return pa.concat_tables([_rows(docs, "doc_id", chosen) for docs in flow.ingest.batches("docs")])


def _first(ids: Iterable[str], seed: int) -> list[str]:
    """Draw ``SAMPLE`` of ``ids``, independent of their order."""
    return sorted(ids, key=lambda each: draw("plan", seed, each))[:SAMPLE]


def _rows(table: pa.Table, key: str, wanted: list[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.is_in(table[key], pa.array(wanted, pa.string())))


def _query(query_id: str, text: str, doc_id: str, kind: str | None = None) -> dict[str, Any]:
    return {
        "query_id": query_id,
        "text": text,
        "split": None,
        "source_doc_id": doc_id,
        "kind": kind,
        "generator": "plan",
    }


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    from gradret.store.contracts import schema

    return pa.Table.from_pylist(rows, schema("queries"))
