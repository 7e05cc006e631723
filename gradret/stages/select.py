"""Turn scored pairs into training lists: GROUPS, one list a query.

Scores become grades by clipping them to two percentiles over all pairs and scaling to [0, 1]
(Tamber et al., section 3.3.1). Positives are the query's source document, the documents that score above
the teacher's ``positive_above``, and their copies. Queries of one source document stay on one side of the
dev split.
"""

from __future__ import annotations

import functools
import hashlib
import math
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.artifacts import Artifact, Draft, make, read_shard
from gradret.errors import DataError
from gradret.stages._map import Quarantined, Result, map_shards

if TYPE_CHECKING:
    from gradret.config import Config

__all__ = ["select"]

_SHORTEST_LIST = 2


def select(config: Config, deduped: Artifact, generated: Artifact, mined: Artifact, labels: Artifact) -> Artifact:
    """GROUPS: each query's documents, positives first, with grades; filtered queries are kept with the reason.

    Raises:
        DataError: all scores are equal, or no list is left, or none for the dev split.
    """
    inputs = {"deduped": deduped, "queries": generated, "pairs": mined, "labels": labels}
    body = functools.partial(_select, config, inputs)
    settings = {"select": config.select, "positive_above": _positive_above(config), "seed": config.seed}
    return make("select", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _select(config: Config, inputs: dict[str, Artifact], draft: Draft) -> None:
    low, high = _percentiles(inputs["labels"], config.select.low, config.select.high)
    draft.notes |= {"score_of_grade_0": low, "score_of_grade_1": high}
    load = functools.partial(_Selector, config, inputs["deduped"], inputs["queries"], low, high)
    shards = list(zip(inputs["pairs"].shards("pairs"), inputs["labels"].shards("labels"), strict=True))
    map_shards(draft, shards, load)
    for split in ("train", "dev"):
        if not draft.counts.get(split):
            raise DataError(
                f"no list is left for {split}: {draft.counts['rows_in']:,} queries in, "
                f"{draft.counts['quarantined']:,} dropped ({draft.quarantined}); "
                "generate more queries, filter less, or change select.dev_share"
            )


def _percentiles(labels: Artifact, low: float, high: float) -> tuple[float, float]:
    import numpy as np
    import pyarrow.parquet as pq

    parts = [pq.read_table(path, columns=["score"])["score"].to_numpy() for path in labels.shards("labels")]
    scores = np.concatenate(parts).astype(np.float64)
    if not len(scores):
        raise DataError("the teacher scored no pair: all its scores were quarantined; see the quarantine of label")
    bounds = np.percentile(scores, [low, high])
    if not bounds[0] < bounds[1]:
        raise DataError(f"the teacher gives the same score, {bounds[0]:.4g}, to (nearly) all pairs; nothing to learn")
    return float(bounds[0]), float(bounds[1])


def _positive_above(config: Config) -> float | None:
    return getattr(config.label.teacher, "positive_above", None)


class _Selector:
    def __init__(self, config: Config, deduped: Artifact, generated: Artifact, low: float, high: float) -> None:
        self.settings, self.seed, self.low, self.high = config.select, config.seed, low, high
        above = _positive_above(config)
        self.positive_above = math.inf if above is None else above
        self.queries = {row["query_id"]: row for row in generated.table("queries").to_pylist()}
        self.copies: dict[str, list[str]] = {}
        for row in deduped.table("duplicates").to_pylist():
            self.copies.setdefault(row["kept_doc_id"], []).append(row["doc_id"])

    def __call__(self, shard: tuple[Path, Path]) -> Result:
        import pyarrow as pa

        from gradret.contracts import schema

        pairs, labels = read_shard(shard[0], "pairs"), read_shard(shard[1], "labels")
        scores = dict(zip(labels["pair_id"].to_pylist(), labels["score"].to_pylist(), strict=True))
        rows = zip(*(pairs[name].to_pylist() for name in ("query_id", "doc_id", "pair_id")), strict=True)
        groups: list[dict[str, Any]] = []
        dropped: list[Quarantined] = []
        for query_id, group in groupby(rows, key=lambda row: row[0]):
            pool = [(doc_id, scores[pair]) for _, doc_id, pair in group if pair in scores]
            made = self._group(self.queries[query_id], pool)
            if isinstance(made, Quarantined):
                dropped.append(made)
            else:
                groups.append(made)
        total = len(groups) + len(dropped)
        table = pa.Table.from_pylist(groups, schema("groups"))
        splits = table["split"].to_pylist()
        counts = {"train": splits.count("train"), "dev": splits.count("dev")}
        return Result({"groups": table}, total, len(groups), dropped, counts)

    def _group(self, query: dict[str, Any], pool: list[tuple[str, float]]) -> dict[str, Any] | Quarantined:
        if len(pool) < _SHORTEST_LIST:
            return Quarantined(query["query_id"], f"fewer than {_SHORTEST_LIST} documents scored", query["text"])
        source = query["source_doc_id"]
        relevant = {doc_id for doc_id, score in pool if score > self.positive_above} | ({source} if source else set())
        relevant |= {copy for doc_id in relevant for copy in self.copies.get(doc_id, [])}
        ranked = sorted(pool, key=lambda pair: (-pair[1], pair[0]))
        position = next((rank for rank, (doc_id, _) in enumerate(ranked, 1) if doc_id == source), None)
        within = self.settings.source_within
        if within and source and (position is None or position > within):
            reason = f"source document not in the teacher's first {within}"
            return Quarantined(query["query_id"], reason, f"rank {position}: {query['text']}")
        ranked.sort(key=lambda pair: pair[0] not in relevant)
        return {
            "query_id": query["query_id"],
            "split": _split(self.seed, source or query["query_id"], self.settings.dev_share),
            "source_doc_id": source,
            "kind": query["kind"],
            "doc_ids": [doc_id for doc_id, _ in ranked],
            "grades": [self._grade(score) for _, score in ranked],
            "scores": [score for _, score in ranked],
            "positives": [doc_id in relevant for doc_id, _ in ranked],
            "relevant_doc_ids": sorted(relevant),
        }

    def _grade(self, score: float) -> float:
        return min(1.0, max(0.0, (score - self.low) / (self.high - self.low)))


def _split(seed: int, doc_id: str, dev_share: float) -> str:
    draw = int.from_bytes(hashlib.sha256(f"dev:{seed}:{doc_id}".encode()).digest()[:8], "big") / 2**64
    return "dev" if draw < dev_share else "train"
