"""Search an index with all its shards: RUN.

Ray actors hold the shards, each block of queries goes to all of them, and what they find is merged.
Blocks are read and written one after the other, and a search that was killed goes on with those that
are not there: memory holds a few blocks, whatever the number of queries. An actor searches several
blocks at a time, a thread each: threads that share a block wait for each other, for long where other
work needs the cores too.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gradret.artifacts import Artifact, Draft, make
from gradret.dense.runs import run_table
from gradret.errors import GradretError, StageError
from gradret.progress import Progress
from gradret.session import cores
from gradret.stages.encode import encode

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config import Config
    from gradret.dense.shards import Shard

__all__ = ["search_index"]

_QUERIES_A_BLOCK = 256


def search_index(
    stage: str, config: Config, index: Artifact, queries: Artifact, *, model: Artifact, k: int, split: str = ""
) -> Artifact:
    """RUN of the ``k`` best documents of each query, float32 score descending, then doc_id descending.

    Args:
        stage: what the artifact is called.
        config: where to store, and who encodes.
        index: the documents' shards.
        queries: QUERIES.
        model: what the index was made with, and the queries get their vectors from.
        k: documents a query.
        split: only queries of this split; all if not given.

    Raises:
        StorageError: a shard is missing or damaged.
        StageError: an actor failed in another way.
    """
    vectors = encode(config, model, queries, "queries")
    inputs = {"index": index, "queries": queries, "vectors": vectors}
    body = functools.partial(_search, inputs, k, split)
    settings = {"k": k, "split": split}
    return make(stage, config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _search(inputs: dict[str, Artifact], k: int, split: str, draft: Draft) -> None:
    import ray
    from ray.exceptions import RayError

    from gradret.session import connect

    connect()
    index, query_ids = inputs["index"], _query_ids(inputs["queries"], split)
    progress = Progress(draft.stage, len(query_ids), "queries")
    actors, threads = _actors(index)
    asked: deque[_Asked] = deque()
    try:
        for number, (block, matrix) in enumerate(_blocks(inputs["vectors"], query_ids)):
            if (draft.path / "run" / f"part-{number:05d}.parquet").exists():
                progress.skip(len(block))
                continue
            sent = ray.put(matrix)
            asked.append(_Asked(number, block, [actor.search.remote(sent, k) for actor in actors]))
            if len(asked) > threads:
                progress.add(_merge(draft, asked.popleft(), k))
        while asked:
            progress.add(_merge(draft, asked.popleft(), k))
    except RayError as error:
        cause = getattr(error, "cause", None)
        raise (cause if isinstance(cause, GradretError) else StageError(f"{draft.stage}: {error}")) from error
    finally:
        progress.close()
        for actor in actors:
            ray.kill(actor)
    draft.count(queries=len(query_ids), shards=index.manifest["notes"]["shards"])


class _Asked(NamedTuple):
    """A block of queries that the actors search."""

    number: int
    query_ids: list[str]
    answers: list[Any]


def _query_ids(queries: Artifact, split: str) -> pa.Array:
    import pyarrow.compute as pc

    rows = queries.table("queries", ["query_id", "split"])
    if split:
        rows = rows.filter(pc.equal(rows["split"], split))
    return rows["query_id"].combine_chunks()


def _blocks(vectors: Artifact, query_ids: pa.Array) -> Iterator[tuple[list[str], np.ndarray]]:
    """Blocks of queries and their vectors, in stored order, which is that of the ids."""
    import pyarrow.compute as pc

    from gradret.dense.vectors import as_matrix

    for rows in vectors.batches("vectors"):
        wanted = rows.filter(pc.is_in(rows["id"], value_set=query_ids))
        for start in range(0, wanted.num_rows, _QUERIES_A_BLOCK):
            block = wanted.slice(start, _QUERIES_A_BLOCK)
            yield block["id"].to_pylist(), as_matrix(block)


def _merge(draft: Draft, asked: _Asked, k: int) -> int:
    """Write what was found for a block; how many queries it has."""
    import numpy as np
    import ray

    found = [shard for answer in ray.get(asked.answers) for shard in answer]
    runs = []
    for query in range(len(asked.query_ids)):
        doc_ids = [doc_id for ids, _ in found for doc_id in ids[query]]
        runs.append((doc_ids, np.concatenate([scores[query] for _, scores in found])))
    draft.write("run", run_table(asked.query_ids, runs, k), asked.number)
    return len(asked.query_ids)


def _actors(index: Artifact) -> tuple[list[Any], int]:
    """Actors that share the shards, at most one a CPU, and how many blocks each searches at a time.

    All have to be there at once, so they reserve no CPU, but memory for what every search reads.
    """
    import ray

    folder, shards = index.path / "shards", range(index.manifest["notes"]["shards"])
    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    count = max(1, min(len(shards), cpus))
    threads = max(1, cores() * nodes // count)
    actors = []
    for first in range(count):
        mine = shards[first::count]
        memory = sum(path.stat().st_size for number in mine for path in folder.glob(f"{number:05d}.faiss"))
        # Ray runs a lost call again on the restarted actor.
        again = {"max_restarts": 3, "max_task_retries": 3}
        actor = ray.remote(_ShardActor).options(num_cpus=0, memory=memory, max_concurrency=threads, **again)
        actors.append(actor.remote(folder, mine))
    return actors, threads


class _ShardActor:
    """Holds shards and answers searches."""

    def __init__(self, folder: Path, numbers: range) -> None:
        self.folder, self.numbers = folder, numbers

    @cached_property
    def shards(self) -> list[Shard]:
        """Loaded by the first search, whose errors come back as they are; a constructor's do not."""
        from gradret.dense.shards import Shard

        return [Shard(self.folder, number) for number in self.numbers]

    def search(self, queries: np.ndarray, k: int) -> list[tuple[list[list[str]], list[np.ndarray]]]:
        import faiss

        faiss.omp_set_num_threads(1)  # of the thread that calls it
        return [shard.search(queries, k) for shard in self.shards]
