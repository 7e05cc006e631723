"""Choose which documents each query is graded against: PAIRS."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.artifacts import Artifact, Draft, make, read_shard
from gradret.components import name_of
from gradret.errors import DataError
from gradret.stages._map import Pool, Quarantined, Result, map_shards, split_rows

if TYPE_CHECKING:
    from gradret.config import Config
    from gradret.retrievers import Retriever

__all__ = ["QUERIES_A_SHARD", "mine", "pair_id"]

QUERIES_A_SHARD = 1000
_SMALLEST_POOL = 2


def mine(config: Config, ingested: Artifact, generated: Artifact) -> Artifact:
    """PAIRS: the union of what ``mine.retrievers`` find, one row a pair, with who found it at which rank.

    A query for which fewer than two documents are found is quarantined: there is nothing to rank.

    Raises:
        DataError: the corpus is too small to rank anything.
    """
    retrievers: tuple[Retriever, ...] = config.mine.retrievers
    prepared = [retriever.prepare(config, ingested, generated) for retriever in retrievers]
    inputs = {"docs": ingested, "queries": generated}
    inputs |= {f"{number}.{key}": artifact for number, more in enumerate(prepared) for key, artifact in more.items()}
    body = functools.partial(_mine, config, generated, prepared)
    settings = {"mine": config.mine, "seed": config.seed}
    return make("mine", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _mine(config: Config, generated: Artifact, prepared: list[dict[str, Artifact]], draft: Draft) -> None:
    rows = generated.table("queries")
    shards = split_rows(draft, rows, "queries", QUERIES_A_SHARD)
    load = functools.partial(_Miner, config.mine.retrievers, prepared, config.seed)
    pool = Pool(actors=config.mine.resources.actors, gpus=config.mine.resources.gpus)
    map_shards(draft, shards, load, pool=pool, total=rows.num_rows, unit="queries")
    if not draft.counts.get("rows_out"):
        raise DataError("no query found two documents to compare; the corpus is too small for a training list")


class _Miner:
    def __init__(self, retrievers: tuple[Retriever, ...], prepared: list[dict[str, Artifact]], seed: int) -> None:
        self.names = [name_of(retriever) for retriever in retrievers]
        self.find = [retriever.load(more, seed) for retriever, more in zip(retrievers, prepared, strict=True)]

    def __call__(self, path: Path) -> Result:
        import pyarrow as pa

        from gradret.contracts import schema

        queries = read_shard(path, "queries").to_pylist()
        found = [retrieve(queries) for retrieve in self.find]
        pairs: list[dict[str, Any]] = []
        lonely = []
        for number, query in enumerate(queries):
            pool = self._union([ranked[number] for ranked in found])
            if len(pool) < _SMALLEST_POOL:
                lonely.append(Quarantined(query["query_id"], "fewer than two documents found", query["text"]))
                continue
            for doc_id, origins in sorted(pool.items()):
                pairs.append(_pair(query["query_id"], doc_id, origins))
        table = pa.Table.from_pylist(pairs, schema("pairs"))
        return Result({"pairs": table}, len(queries), len(queries) - len(lonely), lonely)

    def _union(self, found: list[list[str]]) -> dict[str, list[tuple[str, int]]]:
        pool: dict[str, list[tuple[str, int]]] = {}
        for name, ranked in zip(self.names, found, strict=True):
            for rank, doc_id in enumerate(ranked, 1):
                pool.setdefault(doc_id, []).append((name, rank))
        return pool


def pair_id(query_id: str, doc_id: str) -> str:
    """A hash that names the pair."""
    return hashlib.sha1(f"{query_id}\0{doc_id}".encode(), usedforsecurity=False).hexdigest()[:16]


def _pair(query_id: str, doc_id: str, origins: list[tuple[str, int]]) -> dict[str, Any]:
    return {
        "pair_id": pair_id(query_id, doc_id),
        "query_id": query_id,
        "doc_id": doc_id,
        "origins": [name for name, _ in origins],
        "ranks": [rank for _, rank in origins],
    }
