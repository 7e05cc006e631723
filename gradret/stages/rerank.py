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
from gradret.search.runs import RunReader, queries_of, run_table
from gradret.stages.label import label
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.run import Config

__all__ = ["rerank"]

# Small enough to spread over actors and to lose little in a killed run; not smaller, since a teacher may read the
# whole corpus to look up the texts of each shard.
_QUERIES_A_SHARD = 128


def rerank(
    config: Config, ingested: Artifact, queries: Artifact, runs: Mapping[str, Artifact], k: int = 100
) -> Artifact:
    """Write RUN: the union of each run's first ``k`` documents, ranked by ``label.teacher``.

    Ordered by float32 score descending, then doc_id descending. Equal scores of a language model, which has few
    grades, keep the order of the best rank that a run gave: they are lowered by steps of float32's resolution. A pair
    that the teacher does not score is left out and counted as ``unscored``.

    Args:
        config: the run's config.
        ingested: DOCS.
        queries: QUERIES; a query for which no run has documents gets no rows.
        runs: RUN of each system by name; the name becomes an origin of its pairs.
        k: number of documents per query and run.
    """
    pairs = _pairs(config, queries, runs, k)
    scored = label(config, ingested, queries, pairs)
    ties_by_rank = config.label.teacher.asks_llm
    body = functools.partial(_rank, pairs, scored, ties_by_rank)
    inputs = {"pairs": pairs, "labels": scored}
    settings = {"ties_by_rank": ties_by_rank}
    return make("rerank", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _pairs(config: Config, queries: Artifact, runs: Mapping[str, Artifact], k: int) -> Artifact:
    """PAIRS: one row per pair, with the systems that returned it and their ranks."""
    body = functools.partial(_collect, queries, runs, k)
    inputs = {"queries": queries} | {f"run.{system}": run for system, run in runs.items()}
    settings = {"k": k, "systems": list(runs)}
    return make("found", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _collect(queries: Artifact, runs: Mapping[str, Artifact], k: int, draft: Draft) -> None:
    asked = set(queries.table("queries", ["query_id"])["query_id"].to_pylist())
    query_ids = [query_id for query_id in queries_of(runs.values()) if query_id in asked]
    blocks = [query_ids[start : start + _QUERIES_A_SHARD] for start in range(0, len(query_ids), _QUERIES_A_SHARD)]
    draft.count(rows_out=0)
    map_shards(draft, blocks, functools.partial(_Collector, runs, k), total=len(query_ids), unit="queries")


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


def _rank(pairs: Artifact, scored: Artifact, ties_by_rank: bool, draft: Draft) -> None:  # noqa: FBT001
    shards = list(zip(pairs.shards("pairs"), scored.shards("labels"), strict=True))
    map_shards(draft, shards, lambda: functools.partial(_by_score, ties_by_rank))
    draft.count(unscored=scored.counts.get("quarantined", 0))
    draft.notes |= {name: note for name, note in scored.manifest["notes"].items() if name in {"signal", "orders"}}


def _by_score(ties_by_rank: bool, shard: tuple[Path, Path]) -> Result:  # noqa: FBT001
    """RUN of a shard of PAIRS and its LABELS, in which the rows of a query are consecutive."""
    import numpy as np

    pairs, path = shard
    labels = read_shard(path, "labels", ["query_id", "doc_id", "score"])
    rows = zip(*(column.to_pylist() for column in labels.columns), strict=True)
    groups = {query_id: [row[1:] for row in group] for query_id, group in groupby(rows, key=lambda row: row[0])}
    scored = [
        ([doc_id for doc_id, _ in group], np.array([score for _, score in group], np.float32))
        for group in groups.values()
    ]
    if ties_by_rank:
        rows = read_shard(pairs, "pairs", ["query_id", "doc_id", "ranks"]).to_pylist()
        ranks = {(row["query_id"], row["doc_id"]): min(row["ranks"]) for row in rows}
        scored = [
            (doc_ids, _untied(scores, [ranks[query_id, doc_id] for doc_id in doc_ids]))
            for query_id, (doc_ids, scores) in zip(groups, scored, strict=True)
        ]
    return Result({"run": run_table(list(groups), scored, labels.num_rows)}, labels.num_rows, labels.num_rows)


def _untied(scores: np.ndarray, ranks: Sequence[int]) -> np.ndarray:
    """Lower equal scores so that the lower rank comes first, by the smallest steps that float32 has."""
    import numpy as np

    lowered, ceiling = scores.copy(), np.float32(np.inf)
    for place in np.lexsort((np.array(ranks), -scores)):
        ceiling = lowered[place] = min(scores[place], np.nextafter(ceiling, np.float32(-np.inf)))
    return lowered
