"""One training step, the same numbers for any chunk size and any number of workers.

The texts of the batch are cut into chunks and dealt to the workers. Each encodes its chunks
without gradient; the vectors are put together; every worker computes the whole loss on them and
keeps the gradient of its own texts' vectors; it encodes its chunks again, with gradient, and
passes the vectors' gradient on. Parameter gradients are summed over workers. This is GradCache
(Gao et al. 2021) with the documents of all workers as columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import distributed

from gradret.losses import Lists

if TYPE_CHECKING:
    import numpy as np

    from gradret.training.batches import Batch
    from gradret.training.tokens import Tokens

__all__ = ["Objective", "Student", "backward", "evaluate", "list_ndcg"]


class Student(Protocol):
    """A model in training."""

    dimension: int

    def __call__(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        """Vectors ``(n, dimension)`` of n texts given as ``Tokens.take`` gives them."""

    def parameters(self) -> Sequence[torch.nn.Parameter]:
        """What is trained."""

    def restrict(self, ids: np.ndarray) -> None:
        """Only tokens ``ids`` (ascending) will be asked for: parameters of others may be left out."""


class Objective(torch.nn.Module):
    """The weighted sum of the config's losses."""

    def __init__(self, losses: Sequence[torch.nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.losses, self.weights = torch.nn.ModuleList(losses), list(weights)

    def forward(self, lists: Lists) -> torch.Tensor:
        parts = [weight * loss(lists) for loss, weight in zip(self.losses, self.weights, strict=True)]
        return torch.stack(parts).sum()


def backward(
    student: Student, objective: Objective, batch: Batch, queries: Tokens, docs: Tokens, *, chunk_size: int
) -> float:
    """Leave the gradient of the batch's loss in all parameters; return the loss.

    Args:
        student: encodes texts.
        objective: the loss; the same on every worker.
        batch: the global batch; the same on every worker.
        queries: tokens that ``batch.queries_Q`` counts in.
        docs: tokens that ``batch.docs_N`` counts in.
        chunk_size: texts encoded at once; bounds the memory of activations.
    """
    chunks = _chunks(batch, queries, docs, chunk_size)
    if len(chunks) == _workers() == 1:
        # All texts at once: the second encoding would repeat the first.
        vectors = _encode(student, chunks, batch)
        loss = objective(_lists(batch, vectors))
        loss.backward()
        return float(loss.detach())
    mine = chunks[_rank() :: _workers()]
    with torch.no_grad():
        vectors = _gathered(student, mine, batch)
    vectors.requires_grad_()
    loss = objective(_lists(batch, vectors))
    loss.backward()
    assert vectors.grad is not None
    for places, read in mine:
        torch.autograd.backward(student(*read()), vectors.grad[places.to(vectors.device)])
    if _workers() > 1:
        for parameter in student.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
        for parameter in objective.parameters():
            # Computed from the same vectors by everyone, but not to the last bit on different hardware.
            if parameter.grad is not None:
                distributed.broadcast(parameter.grad, 0)
    return _agreed(loss)


@torch.no_grad()
def evaluate(
    student: Student, objective: Objective, batch: Batch, queries: Tokens, docs: Tokens, *, chunk_size: int
) -> tuple[float, float]:
    """The batch's loss and the mean nDCG@10 of its lists; the workers share the encoding."""
    mine = _chunks(batch, queries, docs, chunk_size)[_rank() :: _workers()]
    lists = _lists(batch, _gathered(student, mine, batch))
    return _agreed(objective(lists)), _agreed(list_ndcg(lists).mean())


def list_ndcg(lists: Lists, k: int = 10) -> torch.Tensor:
    """``(Q,)``: nDCG@k of each list in the student's order, grades as linear gains; 1 where all are 0."""
    gains_QG = torch.where(lists.present_QG, lists.grades_QG.nan_to_num(), 0.0).double()
    scores_QG = lists.scores_QN.gather(1, lists.columns_QG).masked_fill(~lists.present_QG, -torch.inf)
    k = min(k, gains_QG.shape[1])
    discounts_K = torch.arange(2, k + 2, device=gains_QG.device).double().log2().reciprocal()
    got_Q = gains_QG.gather(1, scores_QG.topk(k, dim=1).indices) @ discounts_K
    best_Q = gains_QG.topk(k, dim=1).values @ discounts_K
    return torch.where(best_Q > 0, got_Q / best_Q, 1.0)


_Chunk = tuple[torch.Tensor, Callable[[], tuple["np.ndarray", "np.ndarray"]]]
"""Places of its texts among the batch's vectors, and how to read their tokens."""


def _chunks(batch: Batch, queries: Tokens, docs: Tokens, chunk_size: int) -> list[_Chunk]:
    """All texts of the batch, documents then queries, each kind cut into chunks of like lengths."""
    import numpy as np

    chunks: list[_Chunk] = []
    offset = 0
    for tokens, rows in ((docs, batch.docs_N), (queries, batch.queries_Q)):
        order = np.argsort(tokens.lengths(rows), kind="stable")
        for start in range(0, len(rows), chunk_size):
            part = order[start : start + chunk_size]
            chunks.append((torch.from_numpy(part + offset), _reader(tokens, rows[part])))
        offset += len(rows)
    if len(batch.docs_N) + len(batch.queries_Q) <= chunk_size:
        return [_joined(chunks)]
    return chunks


def _reader(tokens: Tokens, rows: np.ndarray) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    return lambda: tokens.take(rows)


def _joined(chunks: list[_Chunk]) -> _Chunk:
    import numpy as np

    def read() -> tuple[np.ndarray, np.ndarray]:
        ids, starts = zip(*(read() for _, read in chunks), strict=True)
        ends = np.cumsum([0, *(len(part) for part in ids)])
        moved = [part[:-1] + end for part, end in zip(starts, ends, strict=False)]
        return np.concatenate(ids), np.append(np.concatenate(moved), ends[-1])

    return torch.cat([places for places, _ in chunks]), read


def _encode(student: Student, chunks: list[_Chunk], batch: Batch) -> torch.Tensor:
    """``(N + Q, dimension)``; rows of texts in other workers' chunks are zero."""
    total = len(batch.docs_N) + len(batch.queries_Q)
    parts = [(places, student(*read())) for places, read in chunks]
    like = parts[0][1] if parts else next(iter(student.parameters()))
    vectors = torch.zeros(total, student.dimension, dtype=like.dtype, device=like.device)
    for places, part in parts:
        vectors.index_copy_(0, places.to(like.device), part)
    return vectors


def _gathered(student: Student, mine: list[_Chunk], batch: Batch) -> torch.Tensor:
    """``_encode`` over the chunks of all workers. A sum with zeros is exact."""
    vectors = _encode(student, mine, batch)
    if _workers() > 1:
        distributed.all_reduce(vectors)
    return vectors


def _agreed(loss: torch.Tensor) -> float:
    """The first worker's loss: what the workers decide by it, they must decide alike."""
    loss = loss.detach()
    if _workers() > 1:
        distributed.broadcast(loss, 0)
    return float(loss)


def _lists(batch: Batch, vectors: torch.Tensor) -> Lists:
    docs, queries = vectors[: len(batch.docs_N)], vectors[len(batch.docs_N) :]

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(vectors.device)

    return Lists(
        scores_QN=queries @ docs.T,
        columns_QG=tensor(batch.columns_QG),
        present_QG=tensor(batch.present_QG),
        grades_QG=tensor(batch.grades_QG).to(vectors.dtype),
        positives_QG=tensor(batch.positives_QG),
        masked_QN=tensor(batch.masked_QN),
    )


def _workers() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0
