"""Rerank the documents of other systems with the teacher: RUN.

The documents become PAIRS, which ``label`` scores like any other pairs; the scores give the new order.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.pairs import pair_id
from gradret.search.runs import RunReader, run_table
from gradret.stages.label import label
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["rerank"]

# Small enough to spread over actors and to lose little in a killed run; not smaller, since a teacher may read the
# whole corpus to look up the texts of each shard.
_QUERIES_A_SHARD = 128


def rerank(
    config: Config, ingested: Artifact, queries: Artifact, runs: Mapping[str, Artifact], k: int = 100
) -> Artifact:
    """Write RUN: the union of each run's first ``k`` documents, ranked by ``label.teacher``.

    Ordered by float32 score descending, then doc_id descending. A pair that the teacher does not score is left out
    and counted as ``unscored``.

    Args:
        config: the run's config.
        ingested: DOCS.
        queries: QUERIES; a query for which no run has documents gets no rows.
        runs: RUN of each system by name; the name becomes an origin of its pairs.
        k: number of documents per query and run.
    """
    pairs = _pairs(config, queries, runs, k)
    scored = label(config, ingested, queries, pairs)
    body = functools.partial(_rank, scored)
    inputs = {"pairs": pairs, "labels": scored}
    return make("rerank", config.storage_path, module=__name__, settings={}, inputs=inputs, body=body)


def _pairs(config: Config, queries: Artifact, runs: Mapping[str, Artifact], k: int) -> Artifact:
    """PAIRS: one row per pair, with the systems that returned it and their ranks."""
    body = functools.partial(_collect, queries, runs, k)
    inputs = {"queries": queries} | {f"run.{system}": run for system, run in runs.items()}
    settings = {"k": k, "systems": list(runs)}
    return make("found", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _collect(queries: Artifact, runs: Mapping[str, Artifact], k: int, draft: Draft) -> None:
    query_ids = _answered(queries, runs)
    blocks = [query_ids[start : start + _QUERIES_A_SHARD] for start in range(0, len(query_ids), _QUERIES_A_SHARD)]
    draft.count(rows_out=0)
    map_shards(draft, blocks, functools.partial(_Collector, runs, k), total=len(query_ids), unit="queries")


def _answered(queries: Artifact, runs: Mapping[str, Artifact]) -> list[str]:
    """The queries for which any run has documents, sorted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    query_ids = queries.table("queries", ["query_id"])["query_id"]
    columns = (read_shard(path, "run", ["query_id"])["query_id"] for run in runs.values() for path in run.shards("run"))
    in_runs = pa.chunked_array([pc.unique(column) for column in columns], pa.string())
    answered: list[str] = query_ids.filter(pc.is_in(query_ids, value_set=in_runs)).to_pylist()
    return answered


class _Collector:
    def __init__(self, runs: Mapping[str, Artifact], k: int) -> None:
        self.readers, self.k = {system: RunReader(run) for system, run in runs.items()}, k

    def __call__(self, query_ids: Sequence[str]) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        rankings = {system: reader.ranked(query_ids) for system, reader in self.readers.items()}
        pairs = []
        for number, query_id in enumerate(query_ids):
            pool: dict[str, dict[str, int]] = {}
            for system, ranked in rankings.items():
                for doc_id, rank in ranked[number]:
                    if rank <= self.k:
                        pool.setdefault(doc_id, {})[system] = rank
            pairs += [
                {
                    "pair_id": pair_id(query_id, doc_id),
                    "query_id": query_id,
                    "doc_id": doc_id,
                    "origins": list(ranks),
                    "ranks": list(ranks.values()),
                }
                for doc_id, ranks in sorted(pool.items())
            ]
        return Result({"pairs": pa.Table.from_pylist(pairs, schema("pairs"))}, len(query_ids), len(query_ids))


def _rank(scored: Artifact, draft: Draft) -> None:
    map_shards(draft, scored.shards("labels"), lambda: _by_score)
    draft.count(unscored=scored.counts.get("quarantined", 0))


def _by_score(path: Path) -> Result:
    """RUN of a shard of LABELS, in which the rows of a query are consecutive."""
    import numpy as np

    labels = read_shard(path, "labels", ["query_id", "doc_id", "score"])
    rows = zip(*(column.to_pylist() for column in labels.columns), strict=True)
    groups = {query_id: [row[1:] for row in group] for query_id, group in groupby(rows, key=lambda row: row[0])}
    scored = [
        ([doc_id for doc_id, _ in group], np.array([score for _, score in group], np.float32))
        for group in groups.values()
    ]
    return Result({"run": run_table(list(groups), scored, labels.num_rows)}, labels.num_rows, labels.num_rows)
