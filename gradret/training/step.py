"""One training step, the same numbers for any chunk size and any number of workers.

The texts of the batch are cut into chunks and dealt to the workers. Each encodes its chunks
without gradient; the vectors are put together; every worker computes the whole loss on them and
keeps the gradient of its own texts' vectors; it encodes its chunks again, with gradient, and
passes the vectors' gradient on. Parameter gradients are summed over workers. This is GradCache
(Gao et al. 2021) with the documents of all workers as columns. A chunk's dropout is drawn from
seed, step and the chunk's number, so it is the same both times and on any worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import distributed
from torch.utils.checkpoint import checkpoint

from gradret.losses import Lists

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from gradret.losses import Loss, Mean
    from gradret.training.batches import Batch
    from gradret.training.tokens import Tokens

__all__ = ["Objective", "Student", "Texts", "backward", "encode", "lists", "ndcg"]

_ROWS = 512
"""Queries whose scores against all columns are held at once; more are computed in blocks of this many."""

_BUCKET = 1 << 25
"""Numbers that workers add up in one call."""


class Student(Protocol):
    """A model in training."""

    dimension: int
    """Of its vectors."""
    dropout: float
    """The largest probability of any dropout that is on in training."""
    lengths: dict[str, int]
    """Tokens of a text that are read, for ``docs`` and for ``queries``."""

    def tokenize(self, texts: list[str], table: Literal["docs", "queries"]) -> list[np.ndarray]:
        """Token ids of each text, with the prompt of its kind, cut to its length."""

    def __call__(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        """Vectors ``(n, dimension)`` of n texts given as ``Tokens.take`` gives them."""

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """What is trained, always in the same order."""

    def train(self, mode: bool) -> object:  # noqa: FBT001 - torch.nn.Module's
        """Turn dropout on or off."""

    def restrict(self, ids: np.ndarray) -> None:
        """Only tokens ``ids`` (ascending) will be asked for: parameters of others may be left out."""

    def save(self, folder: Path) -> None:
        """Write a sentence-transformers folder that gives the same vectors."""


@dataclass(frozen=True)
class Texts:
    """The tokens that a batch counts in, and how many texts are encoded at once."""

    queries: Tokens
    docs: Tokens
    chunk_size: int
    seed: int = 0


class Objective(torch.nn.Module):
    """The weighted sum of the config's losses.

    Called with a batch and its vectors. Losses that are means over queries are computed in blocks of
    queries, and again in the backward pass, so that only a block's scores are in memory at a time.
    """

    def __init__(self, losses: Sequence[Loss], rows: int = _ROWS) -> None:
        super().__init__()
        self.losses = torch.nn.ModuleList(loss.load() for loss in losses)
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
            for place, loss in enumerate(self.losses):
                means[place] = loss(lists(batch, vectors)) if self.whole_batch[place] else None
            for first in range(0, queries, self.rows):
                rows = slice(first, min(first + self.rows, queries))
                self._add_block(means, batch, vectors, rows)
        total = vectors.new_zeros(())
        for weight, mean in zip(self.weights, means, strict=True):
            assert mean is not None
            total = total + weight * mean.total / mean.count.clamp(min=1)
        return total

    def _add_block(self, means: list[Mean | None], batch: Batch, vectors: torch.Tensor, rows: slice) -> None:
        places = [place for place, whole in enumerate(self.whole_batch) if not whole]

        def block(vectors: torch.Tensor) -> list[Mean]:
            part = lists(batch, vectors, rows)
            return [self.losses[place](part) for place in places]

        if not places:
            return
        found = checkpoint(block, vectors, use_reentrant=False, preserve_rng_state=False)
        for place, mean in zip(places, found, strict=True):
            before = means[place]
            means[place] = mean if before is None else type(mean)(*map(torch.add, before, mean))


def lists(batch: Batch, vectors: torch.Tensor, rows: slice | None = None) -> Lists:
    """What losses see of the batch's queries ``rows``, all by default.

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


def backward(student: Student, objective: Objective, batch: Batch, texts: Texts, step: int = 0) -> float:
    """Leave the gradient of the batch's loss in all parameters; return the loss.

    Args:
        student: encodes texts.
        objective: the loss; the same on every worker.
        batch: the global batch; the same on every worker.
        texts: the tokens of the batch's texts.
        step: of the training; with the seed it decides what dropout drops.
    """
    student.train(True)  # noqa: FBT003 - torch.nn.Module's
    mine = _dealt(_chunks(student, batch, texts))
    # What is encoded last is not encoded again: its activations are all that is held.
    with torch.no_grad():
        parts = [_encoded(student, chunk, texts, step) for chunk in mine[:-1]]
    parts += [_encoded(student, chunk, texts, step) for chunk in mine[-1:]]
    vectors = _gathered(student, batch, mine, parts).requires_grad_()
    loss = objective(batch, vectors)
    if loss.requires_grad:  # a batch that no loss can use gives a plain 0
        loss.backward()
    gradient = torch.zeros_like(vectors) if vectors.grad is None else vectors.grad
    for chunk, part in reversed(list(zip(mine, parts, strict=True))):
        again = part if part.requires_grad else _encoded(student, chunk, texts, step)
        torch.autograd.backward(again, gradient[chunk.places.to(gradient.device)])
    _add_up(student, objective)
    return _agreed(loss)


@torch.no_grad()
def encode(student: Student, batch: Batch, texts: Texts) -> torch.Tensor:
    """``(N + Q, dimension)``: vectors of the batch's documents, then queries; the workers share the work."""
    student.train(False)  # noqa: FBT003 - torch.nn.Module's
    mine = _dealt(_chunks(student, batch, texts))
    return _gathered(student, batch, mine, [_encoded(student, chunk, texts, 0) for chunk in mine])


def ndcg(lists: Lists, k: int = 10) -> torch.Tensor:
    """``(Q,)``: nDCG@k of all columns in the student's order; 1 where a query has no gain to find.

    Gains are grades, 0 for columns that are not in the list; masked and ungraded columns are left out.
    """
    gains_QG = torch.where(lists.graded_QG, lists.grades_QG.nan_to_num(), 0.0).double()
    gains_QN = lists.spread(gains_QG, lists.graded_QG, 0.0)
    ungraded_QG = lists.present_QG & ~lists.graded_QG
    out_QN = lists.masked_QN | lists.spread(ungraded_QG, ungraded_QG, fill=False)
    k = min(k, gains_QN.shape[1])
    discounts_K = torch.arange(2, k + 2, device=gains_QG.device).double().log2().reciprocal()
    order_QK = lists.scores_QN.masked_fill(out_QN, -torch.inf).topk(k, dim=1).indices
    got_Q = gains_QN.gather(1, order_QK) @ discounts_K
    best_Q = gains_QN.topk(k, dim=1).values @ discounts_K
    return torch.where(best_Q > 0, got_Q / best_Q, 1.0)


@dataclass(frozen=True)
class _Chunk:
    """Texts that are encoded together: documents, then queries."""

    number: int
    places: torch.Tensor
    """Places among the batch's vectors."""
    docs: np.ndarray
    queries: np.ndarray
    """Rows of the tokens."""


def _chunks(student: Student, batch: Batch, texts: Texts) -> list[_Chunk]:
    """All texts of the batch, by length, so that texts of like lengths are padded together."""
    import numpy as np

    lengths = np.concatenate([texts.docs.lengths(batch.docs_N), texts.queries.lengths(batch.queries_Q)])
    order, docs = np.argsort(lengths, kind="stable"), len(batch.docs_N)
    size = texts.chunk_size
    if not student.dropout:
        # What is dropped depends on the chunks; else they may be as small as gives every worker one.
        size = min(size, -(-len(order) // _workers()))
    chunks = []
    for number, start in enumerate(range(0, len(order), size)):
        places = np.sort(order[start : start + size])
        is_doc = places < docs
        rows = batch.docs_N[places[is_doc]], batch.queries_Q[places[~is_doc] - docs]
        chunks.append(_Chunk(number, torch.from_numpy(places), *rows))
    return chunks


def _dealt(chunks: list[_Chunk]) -> list[_Chunk]:
    return chunks[_rank() :: _workers()]


def _encoded(student: Student, chunk: _Chunk, texts: Texts, step: int) -> torch.Tensor:
    """``(texts of the chunk, dimension)``."""
    import numpy as np

    ids, starts = texts.docs.take(chunk.docs)
    more_ids, more_starts = texts.queries.take(chunk.queries)
    given = np.concatenate([ids, more_ids]), np.concatenate([starts, starts[-1] + more_starts[1:]])
    with _random(student, texts.seed, step, chunk.number):
        return student(*given)


@contextmanager
def _random(student: Student, *seeds: int) -> Iterator[None]:
    """The random state of a chunk; nothing where nothing is drawn."""
    if not student.dropout:
        yield
        return
    import numpy as np

    device = next(iter(student.parameters())).device
    with torch.random.fork_rng([] if device.type == "cpu" else [device]):
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint32)[0]))
        yield


def _gathered(student: Student, batch: Batch, mine: list[_Chunk], parts: list[torch.Tensor]) -> torch.Tensor:
    """``(N + Q, dimension)``, without gradient, from the chunks of all workers. A sum with zeros is exact."""
    like = parts[0] if parts else next(iter(student.parameters()))
    total = len(batch.docs_N) + len(batch.queries_Q)
    vectors = torch.zeros(total, student.dimension, dtype=like.dtype, device=like.device)
    for chunk, part in zip(mine, parts, strict=True):
        vectors[chunk.places.to(like.device)] = part.detach()
    if _workers() > 1:
        distributed.all_reduce(vectors)
    return vectors


def _add_up(student: Student, objective: Objective) -> None:
    """Sum the student's gradients over workers; those of the loss are the same on all of them."""
    if _workers() == 1:
        return
    gradients = []
    for parameter, used in zip(student.parameters(), _used(student), strict=True):
        if used:
            # None where this worker had no text.
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        distributed.all_reduce(flat)
        for gradient, part in zip(bucket, torch.split(flat, [each.numel() for each in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))
    for parameter in objective.parameters():
        # Computed from the same vectors by everyone, but not to the last bit on different hardware.
        if parameter.grad is not None:
            distributed.broadcast(parameter.grad, 0)


def _used(student: Student) -> list[bool]:
    """Which parameters have a gradient on any worker: an optimizer passes over those that have none."""
    parameters = list(student.parameters())
    flags = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
    flags = flags.to(parameters[0].device)
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return flags.bool().tolist()


def _buckets(gradients: list[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    """Gradients in order, together of about ``_BUCKET`` numbers: many small sums cost more than a few large ones."""
    bucket: list[torch.Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(each.numel() for each in bucket) >= _BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def _agreed(loss: torch.Tensor) -> float:
    """The first worker's loss: what the workers decide by it, they must decide alike."""
    loss = loss.detach()
    if _workers() > 1:
        distributed.broadcast(loss, 0)
    return float(loss)


def _workers() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0
