"""Score every pair once with the teacher: LABELS."""

from __future__ import annotations

import functools
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.artifacts import Artifact, Draft, make, read_shard
from gradret.components import name_of
from gradret.errors import StageError
from gradret.stages._map import Pool, Quarantined, Result, map_shards

if TYPE_CHECKING:
    from gradret.config import Config
    from gradret.teachers import Teacher

__all__ = ["label"]


def label(config: Config, ingested: Artifact, generated: Artifact, mined: Artifact) -> Artifact:
    """LABELS: the teacher's raw score of every pair; a score that is not finite is quarantined."""
    teacher: Teacher = config.label.teacher
    prepared = teacher.prepare(config, ingested, generated)
    inputs = {"docs": ingested, "queries": generated, "pairs": mined} | prepared
    body = functools.partial(_label, config, generated, mined, prepared)
    settings = {"label": config.label}
    return make("label", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _label(config: Config, generated: Artifact, mined: Artifact, prepared: dict[str, Artifact], draft: Draft) -> None:
    load = functools.partial(_Labeler, config.label.teacher, prepared, generated)
    resources = config.label.resources
    pool = Pool(actors=resources.actors, gpus=resources.gpus)
    total = mined.counts["rows_out"]
    map_shards(draft, mined.shards("pairs"), load, pool=pool, total=total, unit="pairs")


class _Labeler:
    def __init__(self, teacher: Teacher, prepared: dict[str, Artifact], generated: Artifact) -> None:
        self.grader, self.source = teacher.load(prepared), name_of(teacher)
        self.queries = {row["query_id"]: row for row in generated.table("queries").to_pylist()}

    def __call__(self, path: Path) -> Result:
        import numpy as np
        import pyarrow as pa

        pairs = read_shard(path, "pairs")
        columns = zip(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True)
        grouped = groupby(columns, key=lambda row: row[0])
        groups = {query_id: [doc_id for _, doc_id in rows] for query_id, rows in grouped}
        queries = [self.queries[query_id] for query_id in groups]
        scored = self.grader.score(queries, list(groups.values()))
        if [len(row) for row in scored] != [len(doc_ids) for doc_ids in groups.values()]:
            raise StageError(f"teacher {self.source}: score() must give one score a document of every query's list")
        scores = np.concatenate(scored).astype(np.float32) if scored else np.zeros(0, np.float32)
        labels = pairs.select(["pair_id", "query_id", "doc_id"])
        labels = labels.append_column("source", pa.array([self.source] * pairs.num_rows, pa.string()))
        labels = labels.append_column("score", pa.array(scores))
        finite = np.isfinite(scores)
        broken = labels.filter(pa.array(~finite)).to_pylist()
        bad = [
            Quarantined(f"{row['query_id']} {row['doc_id']}", "score is not finite", str(row["score"]))
            for row in broken
        ]
        return Result({"labels": labels.filter(pa.array(finite))}, pairs.num_rows, int(finite.sum()), bad)
