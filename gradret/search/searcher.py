"""Search all shards of an index and write a RUN.

Ray actors hold the shards. Each block of queries is sent to all actors. Their candidates (row numbers and
float32 scores) are merged here, and those that may be among the ``k`` best go back to their actor, which
returns exact scores and doc_ids. Blocks are read and written one after the other, so memory holds a few
blocks whatever the number of queries, and a killed search resumes with the missing blocks. An actor
searches several blocks at a time, one per thread, because threads that share a block wait for each other
when other work needs the cores too. Calls carry everything an actor needs, so an actor that died is
restarted and the call repeated.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gradret.config.resources import ray_options
from gradret.search.codes import cut
from gradret.search.factory import is_exact
from gradret.search.runs import ranked
from gradret.search.shards import Candidates, Shards, merge_candidates
from gradret.store.artifacts import Artifact
from gradret.work.nodes import count_cores, count_nodes, require_nodes

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Search

__all__ = ["Searcher"]

_RESTARTS = 3
_PATIENCE = 60.0
"""Seconds without all answers, after which the nodes are counted again."""
_CPU = 0.01
"""CPUs per actor: all actors must run at once, so next to none, but a head without CPUs gets no actor."""


class Run(NamedTuple):
    """The results of a block."""

    queries: int
    table: pa.Table


class _Pending(NamedTuple):
    """A block of queries that the actors are searching, or whose candidates they are scoring."""

    number: int
    query_ids: pa.Array
    vectors: Any
    """Ray reference to the query vectors."""
    answers: list[Any]
    """Ray references to the results, one per actor."""
    rows: list[np.ndarray]
    """For each actor, the query of every candidate that it is scoring."""


class Searcher:
    """Searches an index whose shards are held by Ray actors.

    Args:
        index: the INDEX artifact.
        search: search parameters, and number and resources of the actors.
        k: documents per query.
        exclude_same_ids: remove a document with the query's id.

    Raises:
        ConfigError: this machine has fewer GPUs than ``search.resources.gpus``.
        StageError: the cluster got no node for an actor in time.
    """

    def __init__(self, index: Artifact, search: Search, k: int, *, exclude_same_ids: bool = False) -> None:
        self.index, self.k, self.exclude_same_ids = index, k, exclude_same_ids
        self.actors, self.threads = _actors(index, search, k + exclude_same_ids)
        resources = search.resources
        bundle = resources.bundle(cpus=_CPU, gpus=resources.gpus)
        self._wait = functools.partial(require_nodes, "search", bundle, len(self.actors), resources.wait_minutes)

    def run(
        self, blocks: Iterator[tuple[int, pa.Array, np.ndarray]], *, exact: bool = False
    ) -> Iterator[tuple[int, Run]]:
        """Yield each block's number and results, in order.

        Args:
            blocks: block numbers, query_ids and vectors, ``(n, dimension)`` float32.
            exact: compare with all vectors, whatever the index type.
        """
        searching: deque[_Pending] = deque()
        scoring: deque[_Pending] = deque()
        exact = exact or is_exact(self.index.manifest["notes"]["factory"])
        for block in blocks:
            searching.append(self._ask(*block, exact=exact))
            if len(searching) > self.threads:
                scoring.append(self._merge(searching.popleft(), exact=exact))
            if len(scoring) > 1:
                yield self._ranked(scoring.popleft())
        while searching:
            scoring.append(self._merge(searching.popleft(), exact=exact))
        while scoring:
            yield self._ranked(scoring.popleft())

    def close(self) -> None:
        """Stop the actors."""
        import ray

        for actor in self.actors:
            ray.kill(actor)

    @property
    def wanted(self) -> int:
        """Candidates per query: one more than ``k`` if the query's own document will be removed."""
        return self.k + self.exclude_same_ids

    def _ask(self, number: int, query_ids: pa.Array, vectors: np.ndarray, *, exact: bool) -> _Pending:
        import ray

        notes = self.index.manifest["notes"]
        sent = ray.put(cut(vectors, notes["dimension"], normalize=notes.get("normalize", False)))
        answers = [actor.search.remote(sent, self.wanted, exact) for actor in self.actors]
        return _Pending(number, query_ids, sent, answers, [])

    def _merge(self, pending: _Pending, *, exact: bool) -> _Pending:
        candidates: list[Candidates] = self._get(pending.answers)
        chosen = merge_candidates(candidates, self.wanted, exact=exact)
        answers = [
            actor.score.remote(pending.vectors, rows, positions)
            for actor, (rows, positions) in zip(self.actors, chosen, strict=True)
        ]
        return pending._replace(answers=answers, rows=[rows for rows, _ in chosen])

    def _get(self, answers: list[Any]) -> list[Any]:
        """The answers; while they take long, make sure that no lost node keeps an actor from restarting."""
        import ray

        while ray.wait(answers, num_returns=len(answers), timeout=_PATIENCE)[1]:
            self._wait()
        got: list[Any] = ray.get(answers)
        return got

    def _ranked(self, pending: _Pending) -> tuple[int, Run]:
        import numpy as np
        import pyarrow as pa

        scores, doc_ids = zip(*self._get(pending.answers), strict=True)
        table = ranked(
            pending.query_ids,
            np.concatenate(pending.rows),
            np.concatenate(scores),
            pa.concat_arrays(doc_ids),
            self.k,
            exclude_same_ids=self.exclude_same_ids,
        )
        return pending.number, Run(len(pending.query_ids), table)


def _actors(index: Artifact, search: Search, k: int) -> tuple[list[Any], int]:
    """Start actors that share the shards; return them, and how many blocks each searches at a time."""
    import ray

    shards, resources = range(index.manifest["notes"]["shards"]), search.resources
    bundle = resources.bundle(cpus=_CPU, gpus=resources.gpus)
    require_nodes("search", bundle, min(len(shards), resources.actors or 1), resources.wait_minutes)
    count = min(len(shards), _max_actors(index, search))
    threads = max(1, count_cores() // count)
    kind = ray.remote(_ShardActor).options(
        **ray_options(bundle),
        max_concurrency=threads,
        scheduling_strategy="SPREAD",
        max_restarts=_RESTARTS,
        # Ray repeats lost calls as long as the actor restarts. A few would not do: until Ray knows that a node is lost,
        # each call to it fails at once.
        max_task_retries=-1,
    )
    assigned = [shards[len(shards) * part // count : len(shards) * (part + 1) // count] for part in range(count)]
    gpu = resources.gpus > 0
    return [kind.remote(index.path / "shards", part, search.parameters, k, gpu) for part in assigned], threads


def _max_actors(index: Artifact, search: Search) -> int:
    """Return one actor per GPU; without GPUs, one per core for exact search and one per node otherwise."""
    import ray

    gpus, exact = search.resources.gpus, is_exact(index.manifest["notes"]["factory"])
    wanted = search.resources.actors or (count_cores() if exact else count_nodes())
    if not gpus:
        return wanted
    fitting = int(ray.cluster_resources().get("GPU", 0) / gpus)  # type: ignore[no-untyped-call]
    return min(search.resources.actors or fitting, fitting)


class _ShardActor:
    """Holds shards and answers searches."""

    def __init__(self, folder: Path, numbers: range, parameters: str, k: int, gpu: bool) -> None:  # noqa: FBT001
        self._load = functools.partial(Shards, folder, numbers, parameters, k, gpu=gpu)
        self._loading, self._loaded = threading.Lock(), list[Shards]()

    @property
    def shards(self) -> Shards:
        """The shards, loaded by the first call: Ray passes on its errors unchanged, but not a constructor's."""
        with self._loading:
            if not self._loaded:
                self._loaded.append(self._load())
        return self._loaded[0]

    def search(self, queries: np.ndarray, k: int, exact: bool) -> Candidates:  # noqa: FBT001
        _use_one_thread()
        return self.shards.search(queries, k, exact=exact)

    def score(self, queries: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, pa.Array]:
        return self.shards.score(queries, rows, positions)

    def parameters(self) -> str:
        """Return the search parameters that are set."""
        return self.shards.shards[0].parameters


def _use_one_thread() -> None:
    """Make FAISS search in the calling thread only."""
    import faiss

    faiss.omp_set_num_threads(1)
