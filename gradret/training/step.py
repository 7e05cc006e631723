"""One training step, with the same result for any chunk size and any number of workers.

The texts of the batch are split into chunks, which are distributed over the workers. Each worker
encodes its chunks without gradient; the vectors are gathered; every worker computes the whole loss
on them and keeps the gradient of its own texts' vectors; it encodes its chunks again with gradient
and backpropagates the vectors' gradient. Parameter gradients are summed over workers. This is
GradCache (Gao et al. 2021) with the documents of all workers as columns. A chunk's dropout is seeded
by seed, step and chunk number, so it is the same in both passes and on any worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import distributed

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from gradret.training.batches import Batch
    from gradret.training.objective import Objective
    from gradret.training.tokens import Tokens

__all__ = ["Student", "Texts", "backward", "encode"]

_BUCKET = 1 << 25
"""Numbers per all-reduce call."""


class Student(Protocol):
    """A model during training."""

    dimension: int
    """Dimension of the vectors."""
    dropout: float
    """The largest dropout probability in training; 0 if there is no dropout."""
    lengths: dict[str, int]
    """Maximum tokens per text, for ``docs`` and for ``queries``."""

    def tokenize(self, texts: list[str], table: Literal["docs", "queries"]) -> list[np.ndarray]:
        """Return each text's token ids, with the prompt for its kind, truncated to the maximum length."""

    def __call__(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        """Return vectors ``(n, dimension)`` of n texts in the format that ``Tokens.take`` returns."""

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """Return the trained parameters, always in the same order."""

    def train(self, mode: bool) -> object:  # noqa: FBT001 - torch.nn.Module's
        """Turn dropout on or off."""

    def restrict(self, ids: np.ndarray) -> None:
        """Announce that only tokens ``ids`` (ascending) will be used, so others need no parameters."""

    def save(self, folder: Path) -> None:
        """Write a sentence-transformers folder that produces the same vectors."""


@dataclass(frozen=True)
class Texts:
    """The tokens that a batch's rows refer to, and the number of texts per chunk."""

    queries: Tokens
    docs: Tokens
    chunk_size: int
    seed: int = 0


def backward(student: Student, objective: Objective, batches: Sequence[Batch], texts: Texts, step: int = 0) -> float:
    """Compute the gradient of the batches' mean loss for all parameters; return the loss.

    Args:
        student: the model.
        objective: the loss; the same on every worker.
        batches: global batches, one unless gradients are accumulated; the same on every worker.
        texts: the tokens of the batches' texts.
        step: number of the first batch; seeds dropout, with the seed.
    """
    student.train(True)  # noqa: FBT003 - torch.nn.Module's
    losses = [
        _add_gradient(student, objective, batch, texts, step + number) / len(batches)
        for number, batch in enumerate(batches)
    ]
    _scale(student, objective, 1 / len(batches))
    _reduce_gradients(student, objective)
    return _broadcast_loss(torch.stack(losses).sum())


def _add_gradient(student: Student, objective: Objective, batch: Batch, texts: Texts, step: int) -> torch.Tensor:
    """Add the gradient of a batch's loss to those of the parameters; return the loss, detached."""
    mine = _own_chunks(_chunks(student, batch, texts))
    # The last chunk is not encoded twice: only its activations are kept.
    with torch.no_grad():
        parts = [_encode_chunk(student, chunk, texts, step) for chunk in mine[:-1]]
    parts += [_encode_chunk(student, chunk, texts, step) for chunk in mine[-1:]]
    vectors = _gather(student, batch, mine, parts).requires_grad_()
    loss = objective(batch, vectors)
    if loss.requires_grad:  # if no loss can use the batch, the loss is a constant 0
        loss.backward()
    gradient = torch.zeros_like(vectors) if vectors.grad is None else vectors.grad
    for chunk, part in reversed(list(zip(mine, parts, strict=True))):
        with_gradient = part if part.requires_grad else _encode_chunk(student, chunk, texts, step)
        if with_gradient.requires_grad:  # the queries of a cross-encoder are constants
            torch.autograd.backward(with_gradient, gradient[chunk.places.to(gradient.device)])
    detached: torch.Tensor = loss.detach()
    return detached


def _scale(student: Student, objective: Objective, share: float) -> None:
    """Multiply all gradients by ``share``."""
    if share == 1:
        return
    for parameter in [*student.parameters(), *objective.parameters()]:
        if parameter.grad is not None:
            parameter.grad *= share


@torch.no_grad()
def encode(student: Student, batch: Batch, texts: Texts) -> torch.Tensor:
    """Return vectors ``(N + Q, dimension)`` of the batch's documents, then queries; workers share the work."""
    student.train(False)  # noqa: FBT003 - torch.nn.Module's
    mine = _own_chunks(_chunks(student, batch, texts))
    # One chunk's vectors at a time: those of all held-out texts together may be many.
    return _gather(student, batch, mine, (_encode_chunk(student, chunk, texts, 0) for chunk in mine))


@dataclass(frozen=True)
class _Chunk:
    """Texts that are encoded together: documents, then queries."""

    number: int
    places: torch.Tensor
    """Indices of the texts among the batch's vectors."""
    docs: np.ndarray
    queries: np.ndarray
    """Rows of the tokens, as for ``docs``."""


def _chunks(student: Student, batch: Batch, texts: Texts) -> list[_Chunk]:
    """Split the batch's texts, sorted by length so that little is padded, into chunks."""
    import numpy as np

    lengths = np.concatenate([texts.docs.lengths(batch.docs_N), texts.queries.lengths(batch.queries_Q)])
    order, docs = np.argsort(lengths, kind="stable"), len(batch.docs_N)
    size = texts.chunk_size
    if not student.dropout:
        # With dropout, chunking changes results; without it, shrink chunks so that every worker gets one.
        size = min(size, -(-len(order) // _workers()))
    chunks = []
    for number, start in enumerate(range(0, len(order), size)):
        places = np.sort(order[start : start + size])
        is_doc = places < docs
        rows = batch.docs_N[places[is_doc]], batch.queries_Q[places[~is_doc] - docs]
        chunks.append(_Chunk(number, torch.from_numpy(places), *rows))
    return chunks


def _own_chunks(chunks: list[_Chunk]) -> list[_Chunk]:
    return chunks[_rank() :: _workers()]


def _encode_chunk(student: Student, chunk: _Chunk, texts: Texts, step: int) -> torch.Tensor:
    """Return the chunk's vectors, ``(texts, dimension)``."""
    import numpy as np

    ids, starts = texts.docs.take(chunk.docs)
    more_ids, more_starts = texts.queries.take(chunk.queries)
    inputs = np.concatenate([ids, more_ids]), np.concatenate([starts, starts[-1] + more_starts[1:]])
    with _seeded(student, texts.seed, step, chunk.number):
        return student(*inputs)


@contextmanager
def _seeded(student: Student, *seeds: int) -> Iterator[None]:
    """Seed torch's random state for a chunk; do nothing if there is no dropout."""
    if not student.dropout:
        yield
        return
    import numpy as np

    device = next(iter(student.parameters())).device
    with torch.random.fork_rng([] if device.type == "cpu" else [device]):
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint32)[0]))
        yield


def _gather(student: Student, batch: Batch, mine: list[_Chunk], parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """Gather the vectors of all workers' chunks, ``(N + Q, dimension)``, without gradient.

    Workers sum vectors with zeros elsewhere, which is exact.
    """
    size = len(batch.docs_N) + len(batch.queries_Q), student.dimension
    vectors = None
    for chunk, part in zip(mine, parts, strict=True):
        vectors = part.new_zeros(size) if vectors is None else vectors
        vectors[chunk.places.to(vectors.device)] = part.detach()
    if vectors is None:  # this worker has no chunk
        vectors = next(iter(student.parameters())).new_zeros(size)
    if _workers() > 1:
        distributed.all_reduce(vectors)
    return vectors


def _reduce_gradients(student: Student, objective: Objective) -> None:
    """Sum the student's gradients over workers; the loss's gradients are already the same on all."""
    if _workers() == 1:
        return
    gradients = []
    for parameter, used in zip(student.parameters(), _has_gradient(student), strict=True):
        if used:
            # None if this worker had no text.
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        distributed.all_reduce(flat)
        for gradient, part in zip(bucket, torch.split(flat, [each.numel() for each in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))
    for parameter in objective.parameters():
        # All workers compute it from the same vectors, but on mixed hardware the last bits may differ.
        if parameter.grad is not None:
            distributed.broadcast(parameter.grad, 0)


def _has_gradient(student: Student) -> list[bool]:
    """Return which parameters have a gradient on any worker; the optimizer skips the others."""
    parameters = list(student.parameters())
    flags = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
    flags = flags.to(parameters[0].device)
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return flags.bool().tolist()


def _buckets(gradients: list[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    """Group gradients, in order, into buckets of about ``_BUCKET`` numbers, to reduce the number of calls."""
    bucket: list[torch.Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(each.numel() for each in bucket) >= _BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def _broadcast_loss(loss: torch.Tensor) -> float:
    """Return the first worker's loss, so that all workers take the same decisions."""
    if _workers() > 1:
        distributed.broadcast(loss, 0)
    return float(loss)


def _workers() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0
