"""Retrieve documents for the test queries with a system: RUN.

The systems are a model with its index, BM25, and the teacher over the whole corpus. Each orders its results by
float32 score descending, then doc_id descending, and leaves out a document whose id is that of the query if the
dataset sets ``exclude_same_ids``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gradret.retrievers.bm25 import Bm25
from gradret.search.bm25 import Bm25Index, build_bm25
from gradret.search.runs import run_table
from gradret.stages.search_index import search_index
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.work.shards import map_shards, split_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.teachers import SearchGrader, Teacher

__all__ = ["search", "search_bm25", "search_teacher"]

_QUERIES_A_BLOCK = 256


def search(config: Config, model: Artifact, index: Artifact, queries: Artifact) -> Artifact:
    """Search a model's index: Ray actors hold the shards, and each query goes to all of them.

    Notes hold the recall against exact search and the latency.
    """
    return search_index("search", config, index, queries, model=model, k=config.search.k, split="test", measure=True)


def search_bm25(config: Config, ingested: Artifact, queries: Artifact) -> Artifact:
    """Search with BM25, with the default parameters of the ``bm25`` retriever."""
    settings = Bm25()
    built = build_bm25(config, ingested, settings.k1, settings.b)
    load = functools.partial(_Bm25Worker, built, _Cut.of(config))
    return _search(config, "bm25", load, queries, {"bm25": built})


def search_teacher(config: Config, ingested: Artifact, queries: Artifact) -> Artifact:
    """Search the whole corpus with the teacher; requires one with ``searches``."""
    teacher: Teacher = config.label.teacher
    prepared = teacher.prepare(config, ingested, queries)
    load = functools.partial(_TeacherWorker, teacher, prepared, _Cut.of(config))
    return _search(config, teacher, load, queries, prepared)


@dataclass(frozen=True)
class _Cut:
    """Number of documents to return per query, and whether to leave out one with the query's id."""

    k: int
    exclude_same_ids: bool

    @classmethod
    def of(cls, config: Config) -> _Cut:
        return cls(config.search.k, config.exclude_same_ids)

    @property
    def wanted(self) -> int:
        """Number of documents to search for: one more than ``k`` if one may be left out."""
        return self.k + self.exclude_same_ids


def _search(config: Config, system: object, load: Any, queries: Artifact, prepared: dict[str, Artifact]) -> Artifact:
    """RUN of a system whose worker searches a shard of queries on its own."""
    body = functools.partial(_search_shards, load, queries)
    cut = _Cut.of(config)
    settings = {"k": cut.k, "exclude_same_ids": cut.exclude_same_ids, "system": system}
    inputs = {"queries": queries} | prepared
    about = system if isinstance(system, str) else "teacher"
    return make(
        "search", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body, about=about
    )


def _search_shards(load: Any, queries: Artifact, draft: Draft) -> None:
    rows = _test_queries(queries)
    shards = split_rows(draft, rows, "queries", _QUERIES_A_BLOCK)
    map_shards(draft, shards, load, total=rows.num_rows, unit="queries")


class _Bm25Worker:
    def __init__(self, built: Artifact, cut: _Cut) -> None:
        self.index, self.cut = Bm25Index(built), cut

    def __call__(self, path: Path) -> Result:
        queries = read_shard(path, "queries")
        runs = list(self.index.search(queries["text"].to_pylist(), self.cut.wanted))
        return _result(queries, runs, self.cut)


class _TeacherWorker:
    def __init__(self, teacher: Teacher, prepared: dict[str, Artifact], cut: _Cut) -> None:
        self.grader = cast("SearchGrader", teacher.load(prepared))
        self.cut = cut

    def __call__(self, path: Path) -> Result:
        import numpy as np

        queries = read_shard(path, "queries")
        runs = []
        for ranked in self.grader.search(queries.to_pylist(), self.cut.wanted):
            doc_ids, scores = [doc_id for doc_id, _ in ranked], [score for _, score in ranked]
            runs.append((doc_ids, np.array(scores, np.float32)))
        return _result(queries, runs, self.cut)


def _result(queries: pa.Table, runs: Sequence[tuple[list[str], np.ndarray]], cut: _Cut) -> Result:
    query_ids = queries["query_id"].to_pylist()
    table = run_table(query_ids, runs, cut.k, exclude_same_ids=cut.exclude_same_ids)
    return Result({"run": table}, queries.num_rows, queries.num_rows)


def _test_queries(queries: Artifact) -> pa.Table:
    import pyarrow.compute as pc

    rows = queries.table("queries")
    return rows.filter(pc.equal(rows["split"], "test"))
