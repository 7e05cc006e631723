"""Choose the documents that the teacher grades for each query: PAIRS."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import DataError
from gradret.origins import origins
from gradret.pairs import pair_id
from gradret.retrievers import Ranked
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Quarantined, Result
from gradret.work.shards import map_shards, split_rows

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.retrievers import Retriever

__all__ = ["QUERIES_A_SHARD", "mine"]

QUERIES_A_SHARD = 1000


def mine(config: Config, ingested: Artifact, generated: Artifact, leaks: Artifact) -> Artifact:
    """Write PAIRS, the union of the documents of ``mine.retrievers``: one row a pair, with its origins and ranks.

    A query without a document is quarantined; so is a query in ``leaks``, which nearly duplicates a test query. A
    query with one document is kept: train decides which losses can use it, by their ``needs``. ``short_lists`` counts
    queries for which a retriever returns fewer documents than its ``k``.

    Args:
        config: the run's config.
        ingested: DOCS.
        generated: QUERIES.
        leaks: LEAKS.

    Raises:
        DataError: no query has a document.
    """
    retrievers: tuple[Retriever, ...] = config.mine.retrievers
    prepared = [retriever.prepare(config, ingested, generated) for retriever in retrievers]
    inputs = {"docs": ingested, "queries": generated, "leaks": leaks}
    inputs |= {f"{number}.{key}": artifact for number, more in enumerate(prepared) for key, artifact in more.items()}
    body = functools.partial(_mine, config, generated, leaks, prepared)
    settings = {"retrievers": retrievers, "seed": config.seed}
    return make("mine", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _mine(
    config: Config, generated: Artifact, leaks: Artifact, prepared: list[dict[str, Artifact]], draft: Draft
) -> None:
    rows = generated.table("queries")
    shards = split_rows(draft, rows, "queries", QUERIES_A_SHARD)
    load = functools.partial(_Miner, config.mine.retrievers, prepared, config.seed, leaks)
    draft.count(short_lists=0)
    map_shards(draft, shards, load, workers=config.mine.resources, total=rows.num_rows, unit="queries")
    if not draft.counts.get("rows_out"):
        raise DataError(
            f"mine: none of the {rows.num_rows:,} queries has a document to learn from ({draft.quarantined}); "
            "use a larger corpus, or mine.retrievers that return more documents"
        )


class _Miner:
    def __init__(
        self, retrievers: Sequence[Retriever], prepared: list[dict[str, Artifact]], seed: int, leaks: Artifact
    ) -> None:
        self.origins = origins(retrievers)
        self.leaked = set(leaks.table("leaks", ["query_id"])["query_id"].to_pylist())
        self.wanted = [retriever.k or 0 for retriever in retrievers]
        self.find = [retriever.load(more, seed) for retriever, more in zip(retrievers, prepared, strict=True)]

    def __call__(self, path: Path) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        queries = read_shard(path, "queries").to_pylist()
        clean = [query for query in queries if query["query_id"] not in self.leaked]
        dropped = [
            Quarantined(query["query_id"], "near-duplicate of a test query", query["text"])
            for query in queries
            if query["query_id"] in self.leaked
        ]
        pairs: list[dict[str, Any]] = []
        short = 0
        for query, rankings in zip(clean, zip(*(find(clean) for find in self.find), strict=True), strict=True):
            short += any(len(ranked) < wanted for ranked, wanted in zip(rankings, self.wanted, strict=True))
            pool = self._union(rankings)
            if not pool:
                dropped.append(Quarantined(query["query_id"], "no document found", query["text"]))
            else:
                pairs += [_pair(query["query_id"], doc_id, ranks) for doc_id, ranks in sorted(pool.items())]
        # Built by column: from_pylist takes thirty times as long.
        table = pa.table({name: [pair[name] for pair in pairs] for name in schema("pairs").names}, schema("pairs"))
        kept = len(queries) - len(dropped)
        return Result({"pairs": table}, len(queries), kept, dropped, {"short_lists": short})

    def _union(self, rankings: Sequence[Ranked]) -> dict[str, list[tuple[str, int]]]:
        pool: dict[str, list[tuple[str, int]]] = {}
        for origin, ranked in zip(self.origins, rankings, strict=True):
            for doc_id, rank in ranked:
                pool.setdefault(doc_id, []).append((origin, rank))
        return pool


def _pair(query_id: str, doc_id: str, ranks: list[tuple[str, int]]) -> dict[str, Any]:
    return {
        "pair_id": pair_id(query_id, doc_id),
        "query_id": query_id,
        "doc_id": doc_id,
        "origins": [origin for origin, _ in ranks],
        "ranks": [rank for _, rank in ranks],
    }
