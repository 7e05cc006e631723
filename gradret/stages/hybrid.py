"""Fuse the rankings of two systems, such as the tuned model and BM25: RUN.

A document's score is the mean of what the rankings give it, 0 where a ranking lacks it. ``rrf`` gives 1 / (60 + rank),
whose order is that of the sum (Cormack, Clarke and Buettcher, SIGIR 2009). ``weighted`` gives the score, scaled in each
ranking to 0 for its last and 1 for its first document (a convex combination with equal weights; Bruch, Gai and Ingber,
TOIS 2023). The formulas are those in general use; the papers were not read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradret.search.runs import RunReader, queries_of, ranked
from gradret.store.artifacts import Artifact, Draft, make
from gradret.store.results import Result
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["fused", "hybrid"]

_QUERIES_A_SHARD = 256
_CONSTANT = 60


def hybrid(config: Config, runs: Mapping[str, Artifact]) -> Artifact:
    """Write RUN: the ``search.k`` best of each query's documents in any of ``runs``, fused by ``search.hybrid``.

    Ordered by float32 score descending, then doc_id descending.

    Args:
        config: the run's config.
        runs: RUN of each system, by name; a query may be missing from some.
    """
    settings: dict[str, object] = {"hybrid": config.search.hybrid, "k": config.search.k, "systems": list(runs)}
    inputs = {f"run.{system}": run for system, run in runs.items()}
    body = functools.partial(_hybrid, list(runs.values()), config.search.hybrid, config.search.k)
    return make("hybrid", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _hybrid(runs: Sequence[Artifact], method: str, k: int, draft: Draft) -> None:
    query_ids = queries_of(runs)
    blocks = [query_ids[start : start + _QUERIES_A_SHARD] for start in range(0, len(query_ids), _QUERIES_A_SHARD)]
    draft.count(rows_out=0)
    map_shards(draft, blocks, functools.partial(_Fuser, runs, method, k), total=len(query_ids), unit="queries")


class _Fuser:
    def __init__(self, runs: Sequence[Artifact], method: str, k: int) -> None:
        self.readers, self.method, self.k = [RunReader(run) for run in runs], method, k

    def __call__(self, query_ids: Sequence[str]) -> Result:
        runs = [reader.rows(query_ids) for reader in self.readers]
        return Result({"run": fused(query_ids, runs, self.method, self.k)}, len(query_ids), len(query_ids))


def fused(query_ids: Sequence[str], runs: Sequence[pa.Table], method: str, k: int) -> pa.Table:
    """Build a RUN of the ``k`` best documents of each query in several RUNs.

    Args:
        query_ids: the queries, in the order of the RUN's rows.
        runs: RUN of each system, of these queries only; a query may be missing from some.
        method: ``rrf`` or ``weighted``.
        k: documents per query.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array(query_ids, pa.string())
    parts = []
    for rows in runs:
        row = pc.index_in(rows["query_id"], value_set=ids)
        share = _SHARES[method](row.to_numpy(), rows["rank"].to_numpy(), rows["score"].to_numpy())
        parts.append(pa.table({"row": row, "doc_id": rows["doc_id"], "share": share / len(runs)}))
    # A sum of two terms does not depend on their order.
    table = pa.concat_tables(parts).group_by(["row", "doc_id"]).aggregate([("share", "sum")]).combine_chunks()
    scores = table["share_sum"].to_numpy().astype(np.float32)
    doc_ids = pa.concat_arrays(table["doc_id"].chunks) if table.num_rows else pa.array([], pa.string())
    return ranked(ids, table["row"].to_numpy(), scores, doc_ids, k, exclude_same_ids=False)


def _reciprocal_rank(_row: np.ndarray, rank: np.ndarray, _score: np.ndarray) -> np.ndarray:
    return 1.0 / (_CONSTANT + rank)


def _scaled_score(row: np.ndarray, _rank: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Scores scaled to 0..1 within each query; 1 where all scores of a query are equal."""
    import numpy as np

    size = int(row.max(initial=-1)) + 1
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, row, score)
    np.maximum.at(high, row, score)
    spread = (high - low)[row]
    return np.where(spread > 0, (score - low[row]) / np.where(spread > 0, spread, 1), 1.0)


_SHARES: dict[str, Callable[..., Any]] = {"rrf": _reciprocal_rank, "weighted": _scaled_score}
"""What a ranking adds to a document's score, by ``search.hybrid``."""
