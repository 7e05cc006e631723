"""RUN tables: made of candidates and scores, and read for a few queries at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradret.store.artifacts import Artifact, read_shard

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

__all__ = ["RunReader", "ranked", "run_table"]


def run_table(
    query_ids: Sequence[str],
    found: Sequence[tuple[Sequence[str], np.ndarray]],
    k: int,
    *,
    exclude_same_ids: bool = False,
) -> pa.Table:
    """RUN: the ``k`` best of each query's candidates.

    Args:
        query_ids: in the order of the rows to come.
        found: for each query doc_ids and their float32 scores, in any order.
        k: how many; fewer come where there are fewer.
        exclude_same_ids: leave out a document with the query's own id.
    """
    import numpy as np
    import pyarrow as pa

    doc_ids = pa.array([doc_id for ids, _ in found for doc_id in ids], pa.string())
    scores = np.concatenate([np.zeros(0, np.float32), *(scores for _, scores in found)])
    rows = np.repeat(np.arange(len(query_ids)), [len(ids) for ids, _ in found])
    return ranked(pa.array(query_ids, pa.string()), rows, scores, doc_ids, k, exclude_same_ids=exclude_same_ids)


def ranked(
    query_ids: pa.Array, rows: np.ndarray, scores: np.ndarray, doc_ids: pa.Array, k: int, *, exclude_same_ids: bool
) -> pa.Table:
    """RUN of pairs in any order: score descending, then doc_id descending, the first ``k`` of each query.

    Args:
        query_ids: in the order of the rows to come.
        rows: the query of each pair, a position in ``query_ids``.
        scores: of each pair, float32.
        doc_ids: of each pair.
        k: documents a query.
        exclude_same_ids: leave out a document with the query's own id.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    order = np.argsort(_keys(rows, scores))
    if exclude_same_ids:
        same = pc.equal(doc_ids, query_ids.take(pa.array(rows))).to_numpy(zero_copy_only=False)
        order = order[~same[order]]
    _order_ties(order, rows, scores, doc_ids)
    places = rows[order]
    starts = np.searchsorted(places, np.arange(len(query_ids)))
    ranks = np.arange(len(places)) - starts[places] + 1
    first = ranks <= k
    order, ranks = order[first], ranks[first]
    return pa.table(
        {
            "query_id": query_ids.take(pa.array(rows[order])),
            "doc_id": doc_ids.take(pa.array(order)),
            "score": pa.array(scores[order].astype(np.float32)),
            "rank": pa.array(ranks.astype(np.int32)),
        }
    )


def _keys(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Integers that ascend with the query and, within it, as scores fall; they sort eight times as fast as both."""
    import numpy as np

    bits = (-scores.astype(np.float32)).view(np.int32)
    # As whole numbers, negative floats ascend the wrong way round.
    falling = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    keys: np.ndarray = (rows.astype(np.int64) << 32) + falling
    return keys


def _order_ties(order: np.ndarray, rows: np.ndarray, scores: np.ndarray, doc_ids: pa.Array) -> None:
    """Put pairs that tie into the order of their doc_ids, descending; only they are looked up."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    same = (np.diff(rows[order]) == 0) & (np.diff(scores[order]) == 0)
    (tied,) = (np.append(same, [False]) | np.append([False], same))[: len(order)].nonzero()
    if not len(tied):
        return
    pairs = order[tied]
    keys = pa.table({"row": rows[pairs], "score": scores[pairs], "id": doc_ids.take(pa.array(pairs))})
    sort = [("row", "ascending"), ("score", "descending"), ("id", "descending")]
    order[tied] = pairs[pc.sort_indices(keys, sort_keys=sort).to_numpy()]


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
