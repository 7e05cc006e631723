"""Small students in float64, a small training set, and plain training to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from gradret import contracts
from gradret.losses import Lists
from gradret.losses.infonce import InfoNCE
from gradret.losses.kl import KL
from gradret.training.batches import Batch, Groups
from gradret.training.step import Objective
from gradret.training.tokens import Tokens, write_tokens

WORDS, SIZE = 50, 6


class _Whole(torch.nn.Module):
    """Trains all its parameters, whichever tokens are asked for."""

    dimension = SIZE

    def restrict(self, ids: np.ndarray) -> None:
        pass


class StaticStudent(_Whole):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(WORDS, SIZE, dtype=torch.float64))

    def forward(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        places = torch.from_numpy(starts[:-1].copy())
        return functional.normalize(
            functional.embedding_bag(torch.tensor(ids).long(), self.table, places, mode="mean"), dim=1
        )


class DeepStudent(_Whole):
    """A recurrent layer, attention and an MLP: as in deep models, a text's vector needs all its tokens at once."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(WORDS + 1, 8)
        self.gru = torch.nn.GRU(8, 8, batch_first=True)
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = torch.nn.Sequential(torch.nn.LayerNorm(8), torch.nn.Linear(8, 16), torch.nn.GELU())
        self.out = torch.nn.Linear(16, SIZE)
        self.double()

    def forward(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        # Every text begins with a token of its own, so that an empty one has something to look at.
        rows = [torch.tensor([WORDS, *part]) for part in np.split(ids, starts[1:-1])]
        padded = pad_sequence(rows, batch_first=True)
        empty = torch.arange(padded.shape[1]) >= torch.tensor([[len(row)] for row in rows])
        states, _ = self.gru(self.table(padded))
        states, _ = self.attention(states, states, states, key_padding_mask=empty, need_weights=False)
        keep = (~empty)[..., None].double()
        return functional.normalize(self.out(self.head((states * keep).sum(1) / keep.sum(1))), dim=1)


class Calibrated(torch.nn.Module):
    """A loss with parameters of its own: cross-entropy of grades and scaled, shifted scores."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(3.0, dtype=torch.float64))
        self.bias = torch.nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))

    def forward(self, lists: Lists) -> torch.Tensor:
        graded = lists.present_QG & ~lists.grades_QG.isnan()
        logits = self.scale * lists.scores_QN.gather(1, lists.columns_QG) + self.bias
        return functional.binary_cross_entropy_with_logits(logits[graded], lists.grades_QG[graded])


STUDENTS = {"static": StaticStudent, "deep": DeepStudent}


def objective() -> Objective:
    return Objective([KL().load(), InfoNCE().load(), Calibrated()], [1.0, 0.1, 0.5])


def student(kind: str) -> Any:
    torch.manual_seed(3)
    return STUDENTS[kind]()


def rows(queries: int, docs: Sequence[str], seed: int = 0, longest: int = 9) -> list[dict[str, Any]]:
    """GROUPS rows over ``docs``; lists overlap, a few documents are relevant and not listed."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(queries):
        listed = [docs[place] for place in draw.permutation(len(docs))[: draw.integers(2, longest + 1)]]
        positives = int(draw.integers(0, 3))
        also = [docs[place] for place in draw.permutation(len(docs))[:2]]
        made.append(
            {
                "query_id": f"q{number:03d}",
                "split": "train",
                "source_doc_id": listed[0],
                "kind": None,
                "doc_ids": listed,
                "grades": [None if draw.random() < 0.1 else float(draw.random()) for _ in listed],
                "scores": [0.0] * len(listed),
                "positives": [place < positives for place in range(len(listed))],
                "relevant_doc_ids": [*listed[:positives], *also, "not in the corpus"],
            }
        )
    return made


def table(made: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(made, contracts.schema("groups"))


def texts(count: int, seed: int) -> list[np.ndarray]:
    """Token ids of texts; the first text is empty."""
    draw = np.random.default_rng(seed)
    return [draw.integers(0, WORDS, draw.integers(1, 13) if number else 0, np.int32) for number in range(count)]


def training_set(folder: Path, queries: int = 30, docs: int = 40, seed: int = 0) -> tuple[Groups, Tokens, Tokens]:
    """Groups, query tokens and document tokens; the tokens lie in ``folder``."""
    ids = [f"d{number:03d}" for number in range(docs)]
    if not (folder / "docs").exists():
        for name, count in (("queries", queries), ("docs", docs)):
            parts = texts(count, seed + count)
            write_tokens(folder / name, [str(n) for n in range(count)], lambda _, parts=parts: parts)
    groups = Groups(table(rows(queries, ids, seed)), ids, 7, seed)
    return groups, Tokens(folder / "queries"), Tokens(folder / "docs")


def oracle(kind: str, batches: Sequence[Batch], queries: Tokens, docs: Tokens) -> dict[str, torch.Tensor]:
    """Three steps of plain autograd over the whole batch, every text encoded by itself."""
    model, loss_of = student(kind), objective()
    parameters = [*model.parameters(), *loss_of.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    seen = {}
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        query_vectors, doc_vectors = (
            torch.cat([model(np.asarray(text), np.array([0, len(text)])) for text in each(tokens, places)])
            for tokens, places in ((queries, batch.queries_Q), (docs, batch.docs_N))
        )
        loss = loss_of(
            Lists(
                scores_QN=query_vectors @ doc_vectors.T,
                columns_QG=torch.from_numpy(batch.columns_QG),
                present_QG=torch.from_numpy(batch.present_QG),
                grades_QG=torch.from_numpy(batch.grades_QG).double(),
                positives_QG=torch.from_numpy(batch.positives_QG),
                masked_QN=torch.from_numpy(batch.masked_QN),
            )
        )
        loss.backward()
        seen |= record(step, float(loss.detach()), parameters)
        optimizer.step()
    return seen | {f"weight {n}": parameter.detach().clone() for n, parameter in enumerate(parameters)}


def each(tokens: Tokens, places: np.ndarray) -> list[np.ndarray]:
    return [tokens.ids[tokens.starts[place] : tokens.starts[place + 1]] for place in places]


def record(step: int, loss: float, parameters: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    gradients = {f"gradient {step}.{n}": parameter.grad.clone() for n, parameter in enumerate(parameters)}
    return gradients | {f"loss {step}": torch.tensor(loss, dtype=torch.float64)}


def stepped(
    kind: str, batches: Sequence[Batch], queries: Tokens, docs: Tokens, chunk_size: int
) -> dict[str, torch.Tensor]:
    """The same through ``gradret.training.step``, on as many workers as there are."""
    from gradret.training.step import backward, evaluate

    model, loss_of = student(kind), objective()
    parameters = [*model.parameters(), *loss_of.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    seen = {}
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        before, _ = evaluate(model, loss_of, batch, queries, docs, chunk_size=chunk_size)
        loss = backward(model, loss_of, batch, queries, docs, chunk_size=chunk_size)
        assert abs(before - loss) < 1e-9
        seen |= record(step, loss, parameters)
        optimizer.step()
    return seen | {f"weight {n}": parameter.detach().clone() for n, parameter in enumerate(parameters)}


CASES = [(kind, chunk_size) for kind in STUDENTS for chunk_size in (10_000, 7, 64)]


def worker(rank: int, world: int, folder: Path) -> None:
    """One of ``world`` processes: every case, one after the other."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world
    )
    groups, queries, docs = training_set(folder)
    batches = list(groups.epoch(0, 11))
    results = {case: stepped(case[0], batches, queries, docs, case[1]) for case in CASES}
    torch.save(results, folder / f"{world}-{rank}.pt")
    torch.distributed.destroy_process_group()


@dataclass(frozen=True)
class Tiny:
    """An encoder for ``train_loop``."""

    def student(self, folder: Path) -> Any:
        return student("deep")
