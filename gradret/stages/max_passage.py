"""Rank documents by their best passages: RUN.

A document's score is the highest of its passages that were found (MaxP; Dai and Callan, SIGIR 2019, not read again).
Ordered by float32 score descending, then doc_id descending.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.passage_ids import document_ids
from gradret.progress import say
from gradret.search.runs import ranked
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["max_passage"]


def max_passage(config: Config, run: Artifact, k: int = 0, system: str = "") -> Artifact:
    """Write RUN with the ``k`` best documents of each query, by default ``search.k``; keeps what ``run`` notes.

    Returns ``run`` itself if documents are not cut. ``short_lists`` counts the queries that have fewer than ``k``
    documents among all passages that the search was asked for, so that there may be more.
    """
    if not config.passages.size:
        return run
    settings = {"k": k or config.search.k, "exclude_same_ids": config.dataset.exclude_same_ids}
    body = functools.partial(_max_passage, run, settings["k"], settings["exclude_same_ids"])
    inputs = {"run": run}
    made = make(
        "max_passage", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body, about=system
    )
    if short := made.counts["short_lists"]:
        say(
            f"  max_passage: {short:,} of {made.counts['rows_in']:,} queries have fewer than {settings['k']:,} "
            f"documents among their first {_depth(run):,} passages"
        )
    return made


def _max_passage(run: Artifact, k: int, exclude_same_ids: bool, draft: Draft) -> None:  # noqa: FBT001
    draft.count(rows_in=0, rows_out=0, short_lists=0)
    load = functools.partial(_Ranker, k, exclude_same_ids, _depth(run))
    map_shards(draft, run.shards("run"), load)
    draft.notes |= run.manifest["notes"]
    if "unscored" in run.counts:
        draft.count(unscored=run.counts["unscored"])


def _depth(run: Artifact) -> int:
    """Number of passages that were searched for; 0 if the run is not that of a search."""
    return int(run.manifest["settings"].get("k", 0))


class _Ranker:
    def __init__(self, k: int, exclude_same_ids: bool, depth: int) -> None:  # noqa: FBT001
        self.k, self.exclude_same_ids, self.depth = k, exclude_same_ids, depth

    def __call__(self, path: Path) -> Result:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = read_shard(path, "run", ["query_id", "doc_id", "score"])
        query_ids = pc.unique(rows["query_id"])
        row = pc.index_in(rows["query_id"], value_set=query_ids)
        passages = pa.table({"row": row, "doc_id": document_ids(rows["doc_id"]), "score": rows["score"]})
        best = passages.group_by(["row", "doc_id"]).aggregate([("score", "max")])
        of_query, scores = best["row"].to_numpy(), best["score_max"].to_numpy()
        doc_ids = pa.concat_arrays([pa.array([], pa.string()), *best["doc_id"].chunks])
        table = ranked(query_ids, of_query, scores, doc_ids, self.k, exclude_same_ids=self.exclude_same_ids)
        full = np.bincount(row.to_numpy(), minlength=len(query_ids)) == self.depth
        listed = np.bincount(pc.index_in(table["query_id"], value_set=query_ids).to_numpy(), minlength=len(query_ids))
        counts = {"short_lists": int((full & (listed < self.k)).sum())}
        return Result({"run": table}, len(query_ids), len(query_ids), counts=counts)
