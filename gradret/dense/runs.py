"""RUN tables: made of candidates and scores, and read for a few queries at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradret.artifacts import Artifact, read_shard
from gradret.dense.topk import ordered

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

__all__ = ["RunReader", "run_table"]


def run_table(query_ids: Sequence[str], found: Sequence[tuple[Sequence[str], np.ndarray]], k: int) -> pa.Table:
    """RUN: the ``k`` best of each query's candidates.

    Args:
        query_ids: in the order of the rows to come.
        found: for each query doc_ids and their float32 scores, in any order.
        k: how many; fewer come where there are fewer.
    """
    import numpy as np
    import pyarrow as pa

    queries: list[str] = []
    docs: list[str] = []
    ranks: list[int] = []
    values = [np.zeros(0, np.float32)]
    for query_id, (doc_ids, scores) in zip(query_ids, found, strict=True):
        best = ordered(scores, doc_ids, k)
        queries += [query_id] * len(best)
        docs += [doc_ids[place] for place in best]
        values.append(scores[best])
        ranks += range(1, len(best) + 1)
    return pa.table(
        {
            "query_id": pa.array(queries, pa.string()),
            "doc_id": pa.array(docs, pa.string()),
            "score": pa.array(np.concatenate(values).astype(np.float32)),
            "rank": pa.array(ranks, pa.int32()),
        }
    )


class RunReader:
    """A RUN whose shards are in the order of query_id; only shards that may hold what is asked for are read."""

    def __init__(self, run: Artifact) -> None:
        self.shards = [(path, _ends(path)) for path in run.shards("run")]

    def ranked(self, query_ids: Sequence[str]) -> list[list[tuple[str, int]]]:
        """Each query's doc_ids and ranks, best first; none for a query that the run lacks."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found: dict[str, list[tuple[str, int]]] = {query_id: [] for query_id in query_ids}
        wanted = pa.array(sorted(found), pa.string())
        for path, ends in self.shards:
            if not found or (ends and (ends[1] < wanted[0].as_py() or ends[0] > wanted[-1].as_py())):
                continue
            rows = read_shard(path, "run", ["query_id", "doc_id", "rank"])
            rows = rows.filter(pc.is_in(rows["query_id"], value_set=wanted))
            columns = (rows[name].to_pylist() for name in ("query_id", "doc_id", "rank"))
            for query_id, doc_id, rank in zip(*columns, strict=True):
                found[query_id].append((doc_id, rank))
        return [found[query_id] for query_id in query_ids]


def _ends(path: Path) -> tuple[str, str] | None:
    """The shard's first and last query_id, from the file's statistics; None where it has none."""
    import pyarrow.parquet as pq

    file = pq.read_metadata(path)
    groups = [file.row_group(number).column(0).statistics for number in range(file.num_row_groups)]
    if not groups or any(group is None or not group.has_min_max for group in groups):
        return None
    return min(group.min for group in groups), max(group.max for group in groups)
