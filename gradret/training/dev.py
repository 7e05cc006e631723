"""How well the student does on the held-out queries: the mean loss of their lists, and nDCG over a sampled corpus.

Only vectors are in memory for all texts: scores are computed for a block of queries and a block of documents at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gradret.store.contracts import GENERATED
from gradret.training.objective import Objective
from gradret.training.step import Student, Texts, encode

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.training.batches import Batch, Groups

__all__ = ["measure", "measure_lists", "ndcg", "sample"]

_ROWS, _COLUMNS = 512, 16_384
"""Queries and documents per block of scores."""


def sample(doc_ids: pa.Array, size: int, seed: int) -> np.ndarray:
    """Sample the numbers of ``size`` documents of the corpus, without documents that an LLM wrote.

    Args:
        doc_ids: all doc_ids, sorted.
        size: number of documents.
        seed: seed of the sample.
    """
    import numpy as np
    import pyarrow.compute as pc

    corpus = np.flatnonzero(pc.invert(pc.starts_with(doc_ids, GENERATED)).to_numpy(zero_copy_only=False))
    drawn: np.ndarray = np.random.Generator(np.random.PCG64(seed)).permutation(corpus)[:size]
    return drawn


@torch.no_grad()
def measure(
    student: Student,
    objective: Objective,
    dev: Groups,
    texts: Texts,
    *,
    batch_size: int,
    corpus: np.ndarray | None = None,
) -> dict[str, float]:
    """Return ``dev_loss``, the mean loss over the held-out queries, and with ``corpus`` their mean ``dev_ndcg``.

    Args:
        student: the model.
        objective: the loss.
        dev: the held-out lists.
        texts: the tokens of their texts.
        batch_size: queries per batch of the loss.
        corpus: numbers of the documents to rank, in addition to those of the lists; None computes no nDCG.
    """
    import numpy as np

    whole = dev.batch(np.arange(len(dev)), 0, more_docs=corpus)
    vectors = encode(student, whole, texts)
    loss = 0.0
    for batch in dev.in_order(batch_size):
        rows = np.concatenate([np.searchsorted(whole.docs_N, batch.docs_N), len(whole.docs_N) + batch.queries_Q])
        loss += float(objective(batch, vectors[torch.from_numpy(rows)])) * len(batch.queries_Q)
    measures = {"dev_loss": loss / len(dev)}
    return measures if corpus is None else measures | {"dev_ndcg": float(ndcg(whole, vectors).mean())}


@torch.no_grad()
def measure_lists(
    student: Student, objective: Objective, dev: Groups, texts: Texts, batch_size: int
) -> dict[str, float]:
    """Return ``dev_loss``, and ``dev_ndcg`` of each held-out query's own list in the student's order.

    The arguments are those of ``measure``; the documents of other lists must be masked.
    """
    loss, ranked = 0.0, 0.0
    for batch in dev.in_order(batch_size):
        vectors = encode(student, batch, texts)
        loss += float(objective(batch, vectors)) * len(batch.queries_Q)
        ranked += float(ndcg(batch, vectors).sum())
    return {"dev_loss": loss / len(dev), "dev_ndcg": ranked / len(dev)}


def ndcg(batch: Batch, vectors: torch.Tensor, k: int = 10, rows: int = _ROWS, columns: int = _COLUMNS) -> torch.Tensor:
    """Return nDCG@k of each query, ``(Q,)``, over all documents in the student's order; 1 if all gains are 0.

    Gains are grades, 0 for documents that are not in the list; masked and ungraded documents are excluded.

    Args:
        batch: the queries, their lists and the documents.
        vectors: ``(N + Q, dimension)``, documents first.
        k: the cutoff.
        rows: queries per block of scores.
        columns: documents per block of scores.
    """
    queries = len(batch.queries_Q)
    blocks = (slice(first, min(first + rows, queries)) for first in range(0, queries, rows))
    return torch.cat([_ndcg_of(batch, vectors, block, k, columns) for block in blocks])


def _ndcg_of(batch: Batch, vectors: torch.Tensor, rows: slice, k: int, columns: int) -> torch.Tensor:
    """nDCG@k of the queries ``rows``."""
    import numpy as np

    docs, queries = vectors[: len(batch.docs_N)], vectors[len(batch.docs_N) :][rows]
    graded_QG = batch.present_QG[rows] & ~np.isnan(batch.grades_QG[rows])
    gains_QG = torch.from_numpy(np.where(graded_QG, batch.grades_QG[rows], 0.0)).to(vectors.device).double()
    # A column that no document has: what is not graded adds nothing.
    listed_QG = torch.from_numpy(np.where(graded_QG, batch.columns_QG[rows], -1)).to(vectors.device)
    k = min(k, len(docs))
    order_QK = _first(docs, queries, _left_out(batch, rows), k, columns)
    gains_QK = ((order_QK[:, :, None] == listed_QG[:, None, :]) * gains_QG[:, None, :]).sum(dim=2)
    ideal_QK = gains_QG.topk(min(k, gains_QG.shape[1]), dim=1).values
    discounts_K = torch.arange(2, k + 2, device=vectors.device).double().log2().reciprocal()
    dcg_Q, ideal_Q = gains_QK @ discounts_K, ideal_QK @ discounts_K[: ideal_QK.shape[1]]
    return torch.where(ideal_Q > 0, dcg_Q / ideal_Q, 1.0)


def _left_out(batch: Batch, rows: slice) -> np.ndarray:
    """Query, counted from the first of ``rows``, and column of masked and ungraded documents, ``(2, X)``, by column."""
    import numpy as np

    first, last = np.searchsorted(batch.masked_2M[0], [rows.start, rows.stop])
    masked_2M = batch.masked_2M[:, first:last] - [[rows.start], [0]]
    ungraded_QG = batch.present_QG[rows] & np.isnan(batch.grades_QG[rows])
    ungraded_2U = np.stack([ungraded_QG.nonzero()[0], batch.columns_QG[rows][ungraded_QG]])
    out_2X = np.concatenate([masked_2M, ungraded_2U], axis=1)
    ordered: np.ndarray = out_2X[:, np.argsort(out_2X[1], kind="stable")]
    return ordered


def _first(docs: torch.Tensor, queries: torch.Tensor, out_2X: np.ndarray, k: int, columns: int) -> torch.Tensor:
    """The queries' first ``k`` documents, ``(Q, k)``, those that are left out last."""
    import numpy as np

    scores_QK = queries.new_empty((len(queries), 0))
    order_QK = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
    for start in range(0, len(docs), columns):
        scores_QC = queries @ docs[start : start + columns].T
        first, last = np.searchsorted(out_2X[1], [start, start + columns])
        rows, places = torch.from_numpy(out_2X[:, first:last]).to(queries.device)
        scores_QC[rows, places - start] = -torch.inf
        best = scores_QC.topk(min(k, scores_QC.shape[1]), dim=1)
        scores_QK = torch.cat([scores_QK, best.values], dim=1)
        order_QK = torch.cat([order_QK, best.indices + start], dim=1)
        kept = scores_QK.topk(min(k, scores_QK.shape[1]), dim=1)
        scores_QK, order_QK = kept.values, order_QK.gather(1, kept.indices)
    return order_QK
