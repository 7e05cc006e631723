"""Measure an index: recall against exact search, latency, size."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, Any

from gradret.search.factory import is_exact

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.search.searcher import Searcher
    from gradret.store.artifacts import Artifact

__all__ = ["measure_index", "recall"]

_QUERIES, _SINGLE_QUERIES = 200, 20


def measure_index(searcher: Searcher, inputs: dict[str, Artifact], query_ids: pa.Array, seed: int) -> dict[str, Any]:
    """Measure recall against exact search and milliseconds per query, on at most 200 queries.

    An exact index has recall 1 by construction and is not searched again.

    Args:
        searcher: searches the index.
        inputs: the artifacts ``index``, and ``vectors`` of the queries.
        query_ids: the queries to sample from.
        seed: seed of the sample.
    """
    import ray

    notes = inputs["index"].manifest["notes"]
    parameters = ray.get(searcher.actors[0].parameters.remote())
    ids, vectors = _sample(inputs["vectors"], query_ids, seed)
    blocks = _blocks(ids, vectors, math.ceil(len(ids) / searcher.threads))
    approximate, batched = _timed(searcher, blocks)
    single = [_timed(searcher, [block])[1] for block in _blocks(ids, vectors, 1)[:_SINGLE_QUERIES]]
    exact = approximate if is_exact(notes["factory"]) else _timed(searcher, blocks, exact=True)[0]
    return {
        **{key: notes[key] for key in ("factory", "why", "shards", "vectors", "bytes")},
        "parameters": parameters,
        "queries": len(ids),
        "k": searcher.k,
        "recall@10": recall(approximate, exact, 10),
        "recall@k": recall(approximate, exact, searcher.k),
        "milliseconds_alone": 1000 * statistics.median(single),
        "milliseconds_batched": 1000 * batched / len(ids),
    }


def recall(approximate: pa.Table, exact: pa.Table, k: int) -> float | None:
    """Return the share of the top ``k`` documents of the exact RUN that are in the top ``k`` of ``approximate``."""
    import pyarrow.compute as pc

    first = [run.filter(pc.less_equal(run["rank"], k)).select(["query_id", "doc_id"]) for run in (approximate, exact)]
    if not first[1].num_rows:
        return None
    both = first[0].join(first[1], ["query_id", "doc_id"], join_type="inner")
    return float(both.num_rows / first[1].num_rows)


_Block = tuple[int, "pa.Array", "np.ndarray"]


def _blocks(ids: pa.Array, vectors: np.ndarray, size: int) -> list[_Block]:
    return [(at, ids[at : at + size], vectors[at : at + size]) for at in range(0, len(ids), size)]


def _timed(searcher: Searcher, blocks: list[_Block], *, exact: bool = False) -> tuple[pa.Table, float]:
    """Return the RUN of all blocks, and the seconds that it took."""
    import pyarrow as pa

    started = time.perf_counter()
    tables = [run.table for _, run in searcher.run(iter(blocks), exact=exact)]
    return pa.concat_tables(tables), time.perf_counter() - started


def _sample(vectors: Artifact, query_ids: pa.Array, seed: int) -> tuple[pa.Array, np.ndarray]:
    """Return a random sample of the queries, and their vectors."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from gradret.search.vectors import as_matrix

    draw = np.random.Generator(np.random.PCG64(seed))
    sample = np.sort(draw.permutation(len(query_ids))[:_QUERIES])
    wanted = query_ids.take(pa.array(sample))
    rows = pa.concat_tables(
        [rows.filter(pc.is_in(rows["id"], value_set=wanted)) for rows in vectors.batches("vectors")]
    )
    return rows["id"].combine_chunks(), as_matrix(rows)
