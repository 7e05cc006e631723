"""The weighted sum of the config's losses, and the lists that they compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.utils.checkpoint import checkpoint

from gradret.losses import Lists

if TYPE_CHECKING:
    import numpy as np

    from gradret.losses import Loss, LossFunction, Mean
    from gradret.training.batches import Batch

__all__ = ["Objective", "as_module", "lists"]

_ROWS = 512
"""Queries per block: only one block's scores against all columns are in memory at a time."""


class Objective(torch.nn.Module):
    """The weighted sum of the config's losses.

    Call it with a batch and its vectors. Losses that are means over queries are computed in blocks of
    queries, and recomputed in the backward pass, so that only one block's scores are in memory at a time.
    """

    def __init__(self, losses: Sequence[Loss], rows: int = _ROWS) -> None:
        super().__init__()
        self.losses = torch.nn.ModuleList(as_module(loss.load()) for loss in losses)
        self.weights = [loss.weight for loss in losses]
        self.whole_batch = [loss.whole_batch for loss in losses]
        self.rows = rows

    def forward(self, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        queries = len(batch.queries_Q)
        means: list[Mean | None] = [None] * len(self.losses)
        if queries <= self.rows:
            whole = lists(batch, vectors)
            means = [loss(whole) for loss in self.losses]
        else:
            for index, loss in enumerate(self.losses):
                means[index] = loss(lists(batch, vectors)) if self.whole_batch[index] else None
            for first in range(0, queries, self.rows):
                rows = slice(first, min(first + self.rows, queries))
                self._add_block(means, batch, vectors, rows)
        total = vectors.new_zeros(())
        for weight, mean in zip(self.weights, means, strict=True):
            assert mean is not None
            total = total + weight * mean.total / mean.count.clamp(min=1)
        return total

    def _add_block(self, means: list[Mean | None], batch: Batch, vectors: torch.Tensor, rows: slice) -> None:
        indices = [index for index, whole in enumerate(self.whole_batch) if not whole]

        def block(vectors: torch.Tensor) -> list[Mean]:
            part = lists(batch, vectors, rows)
            return [self.losses[index](part) for index in indices]

        if not indices:
            return
        block_means = checkpoint(block, vectors, use_reentrant=False, preserve_rng_state=False)
        for index, mean in zip(indices, block_means, strict=True):
            previous = means[index]
            means[index] = mean if previous is None else type(mean)(*map(torch.add, previous, mean))


def as_module(loss: LossFunction) -> torch.nn.Module:
    """The loss as a module, which holds its parameters, if any."""
    return loss if isinstance(loss, torch.nn.Module) else _Fixed(loss)


class _Fixed(torch.nn.Module):
    def __init__(self, loss: LossFunction) -> None:
        super().__init__()
        self.forward = loss


def lists(batch: Batch, vectors: torch.Tensor, rows: slice | None = None) -> Lists:
    """Build the input of the losses for the batch's queries ``rows``, by default all.

    Args:
        batch: the global batch.
        vectors: ``(N + Q, dimension)``, documents first.
        rows: a block of the batch's queries.
    """
    import numpy as np

    rows = rows or slice(0, len(batch.queries_Q))
    docs, queries = vectors[: len(batch.docs_N)], vectors[len(batch.docs_N) :][rows]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(vectors.device)

    first, last = np.searchsorted(batch.masked_2M[0], [rows.start, rows.stop])
    masked = tensor(batch.masked_2M[:, first:last])
    masked_QN = torch.zeros(len(queries), len(docs), dtype=torch.bool, device=vectors.device)
    masked_QN[masked[0] - rows.start, masked[1]] = True
    return Lists(
        scores_QN=queries @ docs.T,
        columns_QG=tensor(batch.columns_QG[rows]),
        present_QG=tensor(batch.present_QG[rows]),
        grades_QG=tensor(batch.grades_QG[rows]).to(vectors.dtype),
        teacher_QG=tensor(batch.teacher_QG[rows]).to(vectors.dtype),
        positives_QG=tensor(batch.positives_QG[rows]),
        masked_QN=masked_QN,
        firsts_N=tensor(batch.firsts_N),
        draws_Q=tensor(batch.draws_Q[rows]),
    )
