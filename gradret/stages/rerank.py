"""Have the teacher rank anew what other systems found: RUN.

What they found becomes PAIRS, which ``label`` scores as it does any others; the scores are the order.
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

# Small, so that actors share the work and a killed run has little to score again; but a teacher may read the
# whole corpus for the texts of every shard.
_QUERIES_A_SHARD = 128


def rerank(
    config: Config, ingested: Artifact, queries: Artifact, runs: Mapping[str, Artifact], k: int = 100
) -> Artifact:
    """RUN of ``label.teacher`` over the union of every run's first ``k`` documents, all of them.

    Ordered by float32 score descending, then doc_id descending. A pair that the teacher has no score for is
    left out, and counted as ``unscored``.

    Args:
        config: of the run.
        ingested: DOCS.
        queries: QUERIES; one that no run found anything for gets no rows.
        runs: RUN of each system, by its name, which becomes an origin of the pairs.
        k: documents a query and run.
    """
    found = _pairs(config, queries, runs, k)
    scored = label(config, ingested, queries, found)
    body = functools.partial(_rank, scored)
    inputs = {"pairs": found, "labels": scored}
    return make("rerank", config.storage_path, module=__name__, settings={}, inputs=inputs, body=body)


def _pairs(config: Config, queries: Artifact, runs: Mapping[str, Artifact], k: int) -> Artifact:
    """PAIRS: one row a pair, with the systems that found it and at which ranks."""
    body = functools.partial(_collect, queries, runs, k)
    inputs = {"queries": queries} | {f"run.{system}": run for system, run in runs.items()}
    settings = {"k": k, "systems": list(runs)}
    return make("found", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _collect(queries: Artifact, runs: Mapping[str, Artifact], k: int, draft: Draft) -> None:
    query_ids = _found(queries, runs)
    blocks = [query_ids[start : start + _QUERIES_A_SHARD] for start in range(0, len(query_ids), _QUERIES_A_SHARD)]
    draft.count(rows_out=0)
    map_shards(draft, blocks, functools.partial(_Collector, runs, k), total=len(query_ids), unit="queries")


def _found(queries: Artifact, runs: Mapping[str, Artifact]) -> list[str]:
    """Queries that a run found something for, sorted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    query_ids = queries.table("queries", ["query_id"])["query_id"]
    columns = (read_shard(path, "run", ["query_id"])["query_id"] for run in runs.values() for path in run.shards("run"))
    named = pa.chunked_array([pc.unique(column) for column in columns], pa.string())
    found: list[str] = query_ids.filter(pc.is_in(query_ids, value_set=named)).to_pylist()
    return found


class _Collector:
    def __init__(self, runs: Mapping[str, Artifact], k: int) -> None:
        self.readers, self.k = {system: RunReader(run) for system, run in runs.items()}, k

    def __call__(self, query_ids: Sequence[str]) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        found = {system: reader.ranked(query_ids) for system, reader in self.readers.items()}
        pairs = []
        for number, query_id in enumerate(query_ids):
            pool: dict[str, dict[str, int]] = {}
            for system, ranked in found.items():
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
    """RUN of a shard of LABELS, where the rows of a query stand together."""
    import numpy as np

    labels = read_shard(path, "labels", ["query_id", "doc_id", "score"])
    rows = zip(*(column.to_pylist() for column in labels.columns), strict=True)
    groups = {query_id: [row[1:] for row in group] for query_id, group in groupby(rows, key=lambda row: row[0])}
    found = [
        ([doc_id for doc_id, _ in group], np.array([score for _, score in group], np.float32))
        for group in groups.values()
    ]
    return Result({"run": run_table(list(groups), found, labels.num_rows)}, labels.num_rows, labels.num_rows)
