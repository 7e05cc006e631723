"""Search the test queries with a system: RUN.

Systems: a model with its index, BM25, the teacher over the corpus. Every one orders its results by
float32 score descending, then doc_id descending.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gradret.artifacts import Artifact, Draft, make, read_shard
from gradret.dense.topk import ordered
from gradret.errors import GradretError, StageError
from gradret.progress import Progress
from gradret.retrievers.bm25 import Bm25, Bm25Index, build_bm25
from gradret.session import cores
from gradret.stages._map import Pool, Result, map_shards, split_rows
from gradret.stages.encode import encode

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config import Config
    from gradret.dense.shards import Shard
    from gradret.teachers import Grader, Teacher

__all__ = ["search", "search_bm25", "search_teacher"]

_QUERIES_A_BLOCK = 256


def search(config: Config, model: Artifact, index: Artifact, queries: Artifact) -> Artifact:
    """RUN of a model over its index; Ray actors hold the shards, queries go to all of them."""
    vectors = encode(config, model, queries, "queries")
    body = functools.partial(_search, config, index, queries, vectors)
    inputs = {"index": index, "queries": queries, "vectors": vectors}
    return make("search", config.storage_path, module=__name__, settings=_settings(config), inputs=inputs, body=body)


def search_bm25(config: Config, ingested: Artifact, queries: Artifact) -> Artifact:
    """RUN of BM25, with the parameters of the ``bm25`` retriever's defaults."""
    settings = Bm25()
    built = build_bm25(config, ingested, settings.k1, settings.b)
    load = functools.partial(_Lexical, built, config.search.k)
    return _mapped(config, "bm25", load, queries, {"bm25": built})


def search_teacher(config: Config, ingested: Artifact, queries: Artifact) -> Artifact:
    """RUN of the teacher over the whole corpus."""
    teacher: Teacher = config.label.teacher
    prepared = teacher.prepare(config, ingested, queries)
    load = functools.partial(_Taught, teacher, prepared, config.search.k)
    return _mapped(config, teacher, load, queries, prepared)


def _settings(config: Config, **more: object) -> dict[str, object]:
    return {"k": config.search.k, **more}


def _search(config: Config, index: Artifact, queries: Artifact, vectors: Artifact, draft: Draft) -> None:
    import numpy as np
    import ray
    from ray.exceptions import RayTaskError

    from gradret.dense.vectors import read_vectors
    from gradret.session import connect

    connect()
    query_ids = _test_queries(queries)["query_id"].to_pylist()
    ids, matrix = read_vectors(vectors)
    row_of = {query_id: row for row, query_id in enumerate(ids)}
    matrix = matrix[[row_of[query_id] for query_id in query_ids]]
    actors = _actors(index)
    progress = Progress("search", len(query_ids), "queries")
    try:
        for number, start in enumerate(range(0, len(query_ids), _QUERIES_A_BLOCK)):
            block = query_ids[start : start + _QUERIES_A_BLOCK]
            asked = ray.put(matrix[start : start + _QUERIES_A_BLOCK])
            answers = ray.get([holder.search.remote(asked, config.search.k) for holder in actors])
            found = [shard for answer in answers for shard in answer]
            runs = []
            for query in range(len(block)):
                doc_ids = [doc_id for ids, _ in found for doc_id in ids[query]]
                runs.append((doc_ids, np.concatenate([scores[query] for _, scores in found])))
            draft.write("run", _run(block, runs, config.search.k), number)
            progress.add(len(block))
    except RayTaskError as error:
        raise (error.cause if isinstance(error.cause, GradretError) else StageError(f"search: {error}")) from error
    finally:
        progress.close()
        for holder in actors:
            ray.kill(holder)
    draft.count(queries=len(query_ids), shards=index.manifest["notes"]["shards"])


def _actors(index: Artifact) -> list[Any]:
    """Actors that share the shards, at most one a CPU. All have to be there at once: they reserve memory, no CPU."""
    import ray

    folder, shards = index.path / "shards", range(index.manifest["notes"]["shards"])
    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    count = max(1, min(len(shards), cpus))
    actors = []
    for first in range(count):
        mine = shards[first::count]
        memory = sum(path.stat().st_size for number in mine for path in folder.glob(f"{number:05d}.*"))
        # Ray runs a lost call again on the restarted actor.
        options = {"num_cpus": 0, "memory": memory, "max_restarts": 3, "max_task_retries": 3}
        actors.append(ray.remote(_ShardActor).options(**options).remote(folder, mine))
    return actors


class _ShardActor:
    """Holds shards and answers searches."""

    def __init__(self, folder: Path, numbers: range) -> None:
        self.folder, self.numbers = folder, numbers

    @cached_property
    def shards(self) -> list[Shard]:
        """Loaded by the first search, whose errors come back as they are; a constructor's do not."""
        from gradret.dense.shards import Shard

        return [Shard(self.folder, number, cores()) for number in self.numbers]

    def search(self, queries: np.ndarray, k: int) -> list[tuple[list[list[str]], list[np.ndarray]]]:
        return [shard.search(queries, k) for shard in self.shards]


def _mapped(config: Config, system: object, load: Any, queries: Artifact, prepared: dict[str, Artifact]) -> Artifact:
    """RUN of a system whose worker turns query rows into ``(doc_ids, scores)``."""
    body = functools.partial(_map, load, queries)
    settings = _settings(config, system=system)
    inputs = {"queries": queries} | prepared
    return make("search", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _map(load: Any, queries: Artifact, draft: Draft) -> None:
    rows = _test_queries(queries)
    shards = split_rows(draft, rows, "queries", _QUERIES_A_BLOCK)
    map_shards(draft, shards, load, pool=Pool(actors=1), total=rows.num_rows, unit="queries")


class _Lexical:
    def __init__(self, built: Artifact, k: int) -> None:
        self.index, self.k = Bm25Index(built), k

    def __call__(self, path: Path) -> Result:
        queries = read_shard(path, "queries")
        scores = self.index.scores(queries["text"].to_pylist())
        runs = []
        for row in scores:
            # BM25 has found nothing in a document that shares no term.
            (found,) = row.nonzero()
            runs.append(([self.index.doc_ids[place] for place in found], row[found]))
        return _result(queries, runs, self.k)


class _Taught:
    def __init__(self, teacher: Teacher, prepared: dict[str, Artifact], k: int) -> None:
        self.grader = cast("Grader", teacher.load(prepared))
        self.k = k

    def __call__(self, path: Path) -> Result:
        import numpy as np

        queries = read_shard(path, "queries")
        runs = []
        for ranked in self.grader.search(queries.to_pylist(), self.k):
            doc_ids, scores = [doc_id for doc_id, _ in ranked], [score for _, score in ranked]
            runs.append((doc_ids, np.array(scores, np.float32)))
        return _result(queries, runs, self.k)


def _result(queries: pa.Table, runs: Sequence[tuple[list[str], np.ndarray]], k: int) -> Result:
    table = _run(queries["query_id"].to_pylist(), runs, k)
    return Result({"run": table}, queries.num_rows, queries.num_rows)


def _test_queries(queries: Artifact) -> pa.Table:
    import pyarrow.compute as pc

    rows = queries.table("queries")
    return rows.filter(pc.equal(rows["split"], "test"))


def _run(query_ids: list[str], runs: Sequence[tuple[list[str], np.ndarray]], k: int) -> pa.Table:
    """RUN rows from each query's candidates and scores."""
    import numpy as np
    import pyarrow as pa

    queries: list[str] = []
    docs: list[str] = []
    ranks: list[int] = []
    values = []
    for query_id, (doc_ids, scores) in zip(query_ids, runs, strict=True):
        best = ordered(scores, doc_ids, k)
        queries += [query_id] * len(best)
        docs += [doc_ids[place] for place in best]
        values.append(scores[best])
        ranks += range(1, len(best) + 1)
    return pa.table(
        {
            "query_id": pa.array(queries, pa.string()),
            "doc_id": pa.array(docs, pa.string()),
            "score": pa.array(np.concatenate(values).astype(np.float32)),
            "rank": pa.array(ranks, pa.int32()),
        }
    )
