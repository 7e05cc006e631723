"""Search an index with all its shards: RUN.

Ray actors hold the shards. A block of queries goes to all of them; what they find is merged here, as
rows of shards and float32 scores, and what may be among the ``k`` best goes back to who holds it, to
be scored exactly and named. Blocks are read and written one after the other, and a search that was
killed goes on with those that are not there: memory holds a few blocks, whatever the number of
queries. An actor searches several blocks at a time, a thread each: threads that share a block wait
for each other, for long where other work needs the cores too. What an actor is asked names all that it
needs, so one that died is started again and asked again.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gradret.search.factory import is_exact
from gradret.search.gpu import require_gpus
from gradret.search.runs import ranked
from gradret.search.shards import Found, Shards, kept
from gradret.store.artifacts import Artifact
from gradret.work.session import cores

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Search

__all__ = ["Searcher"]


class Run(NamedTuple):
    """What was found for a block."""

    queries: int
    table: pa.Table


class _Asked(NamedTuple):
    """A block of queries that the actors search, or score candidates of."""

    number: int
    query_ids: pa.Array
    vectors: Any
    """A reference to them."""
    answers: list[Any]
    """References, an actor each."""
    rows: list[np.ndarray]
    """The queries of the candidates that are scored, by actor."""


class Searcher:
    """An index whose shards Ray actors hold.

    Args:
        index: INDEX.
        search: parameters, and who holds the shards.
        k: documents a query.
        exclude_same_ids: leave out a document with the query's own id.

    Raises:
        ConfigError: the cluster has not the GPUs that are asked for.
    """

    def __init__(self, index: Artifact, search: Search, k: int, *, exclude_same_ids: bool = False) -> None:
        from gradret.work.session import connect

        connect()
        require_gpus("search", search.resources.gpus)
        self.index, self.k, self.exclude_same_ids = index, k, exclude_same_ids
        self.actors, self.threads = _actors(index, search, k + exclude_same_ids)

    def run(
        self, blocks: Iterator[tuple[int, pa.Array, np.ndarray]], *, exact: bool = False
    ) -> Iterator[tuple[int, Run]]:
        """Each block's number and what was found for it, in order.

        Args:
            blocks: numbers, query_ids and ``(n, dimension)`` float32.
            exact: compare with all vectors, whatever the index's type.
        """
        searched: deque[_Asked] = deque()
        scored: deque[_Asked] = deque()
        exact = exact or is_exact(self.index.manifest["notes"]["factory"])
        for block in blocks:
            searched.append(self._ask(*block, exact=exact))
            if len(searched) > self.threads:
                scored.append(self._merge(searched.popleft(), exact=exact))
            if len(scored) > 1:
                yield self._ranked(scored.popleft())
        while searched:
            scored.append(self._merge(searched.popleft(), exact=exact))
        while scored:
            yield self._ranked(scored.popleft())

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self.actors:
            ray.kill(actor)

    @property
    def wanted(self) -> int:
        """Documents a query, one more where its own may be among them."""
        return self.k + self.exclude_same_ids

    def _ask(self, number: int, query_ids: pa.Array, vectors: np.ndarray, *, exact: bool) -> _Asked:
        import ray

        sent = ray.put(vectors)
        answers = [actor.search.remote(sent, self.wanted, exact) for actor in self.actors]
        return _Asked(number, query_ids, sent, answers, [])

    def _merge(self, asked: _Asked, *, exact: bool) -> _Asked:
        import ray

        found: list[Found] = ray.get(asked.answers)
        chosen = kept(found, self.wanted, exact=exact)
        answers = [
            actor.score.remote(asked.vectors, rows, places)
            for actor, (rows, places) in zip(self.actors, chosen, strict=True)
        ]
        return asked._replace(answers=answers, rows=[rows for rows, _ in chosen])

    def _ranked(self, asked: _Asked) -> tuple[int, Run]:
        import numpy as np
        import pyarrow as pa
        import ray

        scores, doc_ids = zip(*ray.get(asked.answers), strict=True)
        table = ranked(
            asked.query_ids,
            np.concatenate(asked.rows),
            np.concatenate(scores),
            pa.concat_arrays(doc_ids),
            self.k,
            exclude_same_ids=self.exclude_same_ids,
        )
        return asked.number, Run(len(asked.query_ids), table)


def _actors(index: Artifact, search: Search, k: int) -> tuple[list[Any], int]:
    """Actors that share the shards, and how many blocks each searches at a time.

    All have to be there at once, so they reserve no CPU.
    """
    import ray

    shards = range(index.manifest["notes"]["shards"])
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    count = min(len(shards), _most_actors(index, search, nodes))
    threads = max(1, cores() * nodes // count)
    kind = ray.remote(_ShardActor).options(
        num_cpus=0,
        num_gpus=search.resources.gpus,
        max_concurrency=threads,
        scheduling_strategy="SPREAD",
        # Ray runs a lost call again on the restarted actor.
        max_restarts=3,
        max_task_retries=3,
    )
    held = [shards[len(shards) * part // count : len(shards) * (part + 1) // count] for part in range(count)]
    gpu = search.resources.gpus > 0
    return [kind.remote(index.path / "shards", mine, search.parameters, k, gpu) for mine in held], threads


def _most_actors(index: Artifact, search: Search, nodes: int) -> int:
    """One a GPU; else one a core for exact search, and one a node for what an actor merges into one index."""
    import ray

    gpus = search.resources.gpus
    wanted = search.resources.actors or (cores() * nodes if is_exact(index.manifest["notes"]["factory"]) else nodes)
    if not gpus:
        return wanted
    room = int(ray.cluster_resources().get("GPU", 0) / gpus)  # type: ignore[no-untyped-call]
    return min(search.resources.actors or room, room)


class _ShardActor:
    """Holds shards and answers searches."""

    def __init__(self, folder: Path, numbers: range, parameters: str, k: int, gpu: bool) -> None:  # noqa: FBT001
        self._load = functools.partial(Shards, folder, numbers, parameters, k, gpu=gpu)
        self._loading, self._loaded = threading.Lock(), list[Shards]()

    @property
    def shards(self) -> Shards:
        """Loaded by the first search, whose errors come back as they are; a constructor's do not."""
        with self._loading:
            if not self._loaded:
                self._loaded.append(self._load())
        return self._loaded[0]

    def search(self, queries: np.ndarray, k: int, exact: bool) -> Found:  # noqa: FBT001
        _one_thread()
        return self.shards.search(queries, k, exact=exact)

    def score(self, queries: np.ndarray, rows: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, pa.Array]:
        return self.shards.score(queries, rows, places)

    def parameters(self) -> str:
        """The search parameters that are set."""
        return self.shards.shards[0].parameters


def _one_thread() -> None:
    """FAISS searches with the thread that calls it alone."""
    import faiss

    faiss.omp_set_num_threads(1)
