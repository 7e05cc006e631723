"""Tiny models in float64, a small training set, and plain training to compare with."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from gradret import components
from gradret.encoders.static import Static
from gradret.encoders.transformer import Transformer
from gradret.losses import Lists
from gradret.losses.bixse import BiXSE
from gradret.losses.infonce import InfoNCE
from gradret.store import contracts
from gradret.training.batches import Batch, Groups
from gradret.training.matryoshka import Matryoshka
from gradret.training.objective import Objective
from gradret.training.step import Texts, backward
from gradret.training.tokens import Tokens, write_tokens

from ..stages import tiny

WORDS = 50
LOSSES = {name: components.find("losses", name)() for name in components.names("losses")}
SUM = (LOSSES["kl"], InfoNCE(weight=0.1), BiXSE(weight=0.5))
FAMILIES = ("static", "transformer")


def make_models(folder: Path) -> None:
    """A tiny model of each family, as ``base`` leaves it."""
    torch.manual_seed(1)
    for family, make in (("static", tiny._static), ("transformer", tiny._transformer)):
        make(folder / family)


def student(folder: Path, family: str, dropout: float = 0.0) -> Any:
    """The family's component in training, in float64."""
    encoder = Static() if family == "static" else Transformer(dropout=dropout)
    return encoder.student(folder / family).double()


PREFIXES = {3: 0.5, 8: 2.0}


def objective(name: str, rows: int = 512) -> Objective:
    """One loss by name; ``sum`` is a weighted sum of three, one of which learns, ``nested`` that over prefixes."""
    if name == "nested":
        whole = Objective([*SUM, LOSSES["wasserstein"]], rows)
        return Matryoshka(whole, PREFIXES, normalize=True).double()
    return Objective(SUM if name == "sum" else [LOSSES[name]], rows).double()


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
                "scores": [None if draw.random() < 0.1 else float(10 * draw.random() - 5) for _ in listed],
                "positives": [place < positives for place in range(len(listed))],
                "relevant_doc_ids": [*listed[:positives], *also, "not in the corpus"],
            }
        )
    return made


def table(made: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(made, contracts.schema("groups"))


def sentences(count: int, seed: int, longest: int = 12) -> list[str]:
    """Texts of 1 to ``longest`` words."""
    draw = random.Random(seed)
    return [tiny.sentence(draw, draw.randint(1, longest)) for _ in range(count)]


def training_set(folder: Path, family: str) -> tuple[Groups, Texts]:
    """30 groups over 40 documents and their tokens, which lie in ``folder``."""
    ids = [f"d{number:03d}" for number in range(40)]
    tokens = {}
    for name, count in (("queries", 30), ("docs", 40)):
        place = folder / f"{family}-{name}"
        if not place.exists():
            write_tokens(place, sentences(count, count), student(folder, family).tokenize, name)
        tokens[name] = Tokens(place)
    return Groups(table(rows(30, ids)), pa.array(ids), 7, 0), Texts(tokens["queries"], tokens["docs"], 10_000)


def oracle(folder: Path, family: str, name: str, accumulate: int = 1) -> dict[str, torch.Tensor]:
    """Plain autograd over three batches, one or more a step, every text encoded by itself."""
    groups, texts = training_set(folder, family)
    model, loss_of = student(folder, family), objective(name)
    parameters = [*model.parameters(), *loss_of.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    seen = {}
    for step, batches in enumerate(steps(groups, accumulate)):
        optimizer.zero_grad()
        loss = sum(plain_loss(model, loss_of, batch, texts) for batch in batches) / len(batches)
        loss.backward()
        seen |= record(step, float(loss.detach()), parameters)
        optimizer.step()
    return seen | weights(parameters)


def steps(groups: Groups, accumulate: int) -> list[list[Batch]]:
    batches = list(groups.epoch(0, 11))
    return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]


def plain_loss(model: Any, loss_of: Objective, batch: Batch, texts: Texts) -> torch.Tensor:
    """The weighted sum of the batch's losses, with its graph."""
    vectors = [
        torch.cat([model(np.asarray(text), np.array([0, len(text)])) for text in each(tokens, places)])
        for tokens, places in ((texts.queries, batch.queries_Q), (texts.docs, batch.docs_N))
    ]
    if not isinstance(loss_of, Matryoshka):
        return loss_at(loss_of, batch, *vectors)
    return sum(
        weight * loss_at(loss_of.whole, batch, *(functional.normalize(part[:, :size], dim=1) for part in vectors))
        for size, weight in PREFIXES.items()
    )


def loss_at(loss_of: Objective, batch: Batch, query_vectors: torch.Tensor, doc_vectors: torch.Tensor) -> torch.Tensor:
    """The weighted sum of the losses of these vectors."""
    masked_QN = torch.zeros(len(batch.queries_Q), len(batch.docs_N), dtype=torch.bool)
    for query, column in batch.masked_2M.T.tolist():
        masked_QN[query, column] = True
    given = Lists(
        scores_QN=query_vectors @ doc_vectors.T,
        columns_QG=torch.from_numpy(batch.columns_QG),
        present_QG=torch.from_numpy(batch.present_QG),
        grades_QG=torch.from_numpy(batch.grades_QG).double(),
        teacher_QG=torch.from_numpy(batch.teacher_QG).double(),
        positives_QG=torch.from_numpy(batch.positives_QG),
        masked_QN=masked_QN,
        firsts_N=torch.from_numpy(batch.firsts_N),
        draws_Q=torch.from_numpy(batch.draws_Q),
    )
    means = [(weight, loss(given)) for weight, loss in zip(loss_of.weights, loss_of.losses, strict=True)]
    return sum(weight * total / count for weight, (total, count) in means)


def each(tokens: Tokens, places: np.ndarray) -> list[np.ndarray]:
    return [tokens.ids[slice(*tokens.spans[place])] for place in places]


def record(step: int, loss: float, parameters: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    # Plain autograd leaves None, ours leaves 0, where a parameter has no part in any text.
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
    named = {f"gradient {step}.{n}": gradient for n, gradient in enumerate(gradients)}
    return named | {f"loss {step}": torch.tensor(loss, dtype=torch.float64)}


def weights(parameters: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"weight {n}": parameter.detach().clone() for n, parameter in enumerate(parameters)}


@dataclass(frozen=True)
class Case:
    """How a step may be cut up."""

    family: str
    loss: str
    chunk_size: int
    rows: int = 512
    dropout: float = 0.0
    accumulate: int = 1


NAMES = [*LOSSES, "sum", "nested"]
CASES = [Case(family, name, 7, rows=4) for family in FAMILIES for name in NAMES]
WHOLE = [Case(family, "sum", chunk_size) for family in FAMILIES for chunk_size in (10_000, 64)]
ACCUMULATED = [Case(family, "sum", 7, rows=4, accumulate=2) for family in FAMILIES]
DROPPED = [Case("transformer", name, 7, dropout=0.2) for name in NAMES]


def stepped(folder: Path, case: Case) -> dict[str, torch.Tensor]:
    """Three steps through ``gradret.training.step``, on as many workers as there are."""
    groups, texts = training_set(folder, case.family)
    texts = dataclasses.replace(texts, chunk_size=case.chunk_size)
    model, loss_of = student(folder, case.family, case.dropout), objective(case.loss, case.rows)
    parameters = [*model.parameters(), *loss_of.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    seen = {}
    for step, batches in enumerate(steps(groups, case.accumulate)):
        optimizer.zero_grad()
        loss = backward(model, loss_of, batches, texts, step)
        seen |= record(step, loss, parameters)
        optimizer.step()
    return seen | weights(parameters)


def worker(rank: int, world: int, folder: Path) -> None:
    """One of ``world`` processes: every case, one after the other."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{world}", rank=rank, world_size=world
    )
    results = {case: stepped(folder, case) for case in [*CASES, *WHOLE, *ACCUMULATED, *DROPPED]}
    if rank in {0, world - 1}:
        torch.save({dataclasses.astuple(case): found for case, found in results.items()}, folder / f"{world}-{rank}.pt")
    torch.distributed.destroy_process_group()


class DeepStudent(torch.nn.Module):
    """A small student for the loop: a recurrent layer over token vectors."""

    dimension, dropout = 6, 0.0

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(WORDS + 1, 8)
        self.gru = torch.nn.GRU(8, 8, batch_first=True)
        self.out = torch.nn.Linear(8, self.dimension)
        self.double()

    def restrict(self, ids: np.ndarray) -> None:
        pass

    def forward(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        # Every text begins with a token of its own, so that an empty one has something to look at.
        rows = [torch.tensor([WORDS, *part]) for part in np.split(ids, starts[1:-1])]
        states, _ = self.gru(self.table(pad_sequence(rows, batch_first=True)))
        lengths = torch.tensor([len(row) for row in rows])
        return functional.normalize(self.out(states[torch.arange(len(rows)), lengths - 1]), dim=1)


def texts(count: int, seed: int) -> list[np.ndarray]:
    """Token ids of texts for ``DeepStudent``; the first text is empty."""
    draw = np.random.default_rng(seed)
    return [draw.integers(0, WORDS, draw.integers(1, 13) if number else 0, np.int32) for number in range(count)]


@dataclass(frozen=True)
class Tiny:
    """An encoder for ``train_loop``."""

    def student(self, folder: Path, device: str) -> Any:
        torch.manual_seed(3)
        return DeepStudent()
