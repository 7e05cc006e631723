"""Small batches for losses."""

from __future__ import annotations

import dataclasses

import torch

from gradret.losses import Lists

QUERIES, DOCS, LENGTH = 5, 12, 4


def lists(seed: int = 0, dtype: torch.dtype = torch.float64) -> Lists:
    """A batch with everything: short lists, ungraded and ungradable queries, several positives, masked columns.

    Query 0 has two positives and full grades, 1 a short list, 2 no positive, 3 an ungraded document
    and two masked columns, the last one of another query's positive; 4 has a document that the
    teacher did not score.
    """
    draw = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    columns_QG = torch.stack([torch.randperm(DOCS, generator=draw)[:LENGTH] for _ in range(QUERIES)])
    present_QG = torch.ones(QUERIES, LENGTH, dtype=torch.bool)
    grades_QG = uniform(QUERIES, LENGTH)
    positives_QG = torch.zeros(QUERIES, LENGTH, dtype=torch.bool)
    positives_QG[:, 0] = True
    positives_QG[0, 1] = True
    positives_QG[2, 0] = False
    present_QG[1, -1] = False
    columns_QG[1, -1] = 0
    grades_QG[1, -1] = torch.nan
    grades_QG[3, 1] = torch.nan
    teacher_QG = 8 * grades_QG - 3
    teacher_QG[4, 2] = torch.nan
    masked_QN = torch.zeros(QUERIES, DOCS, dtype=torch.bool)
    masked_QN[3, unlisted(columns_QG[3], DOCS)[:1]] = True
    # Its own positive is another query's: masked where the query does not list it.
    other = int(columns_QG[4, 0])
    masked_QN[3, other] = other not in columns_QG[3]
    return Lists(
        scores_QN=(2 * uniform(QUERIES, DOCS) - 1).to(dtype),
        columns_QG=columns_QG,
        present_QG=present_QG,
        grades_QG=grades_QG.to(dtype),
        teacher_QG=teacher_QG.to(dtype),
        positives_QG=positives_QG,
        masked_QN=masked_QN,
        firsts_N=firsts(columns_QG, positives_QG, DOCS),
        draws_Q=torch.randint(1000, (QUERIES,), generator=draw),
    )


def firsts(columns_QG: torch.Tensor, positives_QG: torch.Tensor, docs: int) -> torch.Tensor:
    """``(N,)``: the column is the first positive of a query."""
    firsts_N = torch.zeros(docs, dtype=torch.bool)
    firsts_N[columns_QG[positives_QG[:, 0], 0]] = True
    return firsts_N


def unlisted(columns_G: torch.Tensor, docs: int) -> list[int]:
    """Columns that are not in the list."""
    return sorted(set(range(docs)) - set(columns_G.tolist()))


def fields(shape: str) -> list[str]:
    """Names of the fields of ``Lists`` with this shape, by their suffix."""
    return [field.name for field in dataclasses.fields(Lists) if field.name.endswith(f"_{shape}")]


def rows(given: Lists, queries: torch.Tensor) -> Lists:
    """These queries in this order, over the columns of the whole batch: a block of it."""
    kept = [*fields("QN"), *fields("QG"), *fields("Q")]
    return dataclasses.replace(given, **{name: getattr(given, name)[queries] for name in kept})


def mixed(given: Lists, docs: torch.Tensor) -> Lists:
    """The same batch with its columns in this order."""
    moved = {name: getattr(given, name)[..., docs] for name in [*fields("QN"), *fields("N")]}
    return dataclasses.replace(given, **moved, columns_QG=docs.argsort()[given.columns_QG])


def lacking(given: Lists, need: str, queries: list[int]) -> Lists:
    """The same batch, but these queries lack what ``NEEDS`` calls ``need``."""
    name, value = {
        "positive": ("positives_QG", False),
        "grade": ("grades_QG", torch.nan),
        "two graded": ("grades_QG", torch.tensor([0.5, *[torch.nan] * (LENGTH - 1)], dtype=given.grades_QG.dtype)),
        "two grades": ("grades_QG", 0.5),
        "teacher scores": ("teacher_QG", torch.nan),
    }[need]
    changed = getattr(given, name).clone()
    changed[queries] = torch.where(given.present_QG[queries], value, changed[queries])
    poorer = dataclasses.replace(given, **{name: changed})
    return dataclasses.replace(poorer, firsts_N=firsts(poorer.columns_QG, poorer.positives_QG, DOCS))


def graded(given: Lists, query: int) -> tuple[list[int], list[float]]:
    """Columns and grades of the list's graded documents."""
    places = [g for g in range(LENGTH) if given.present_QG[query, g] and not given.grades_QG[query, g].isnan()]
    return given.columns_QG[query, places].tolist(), given.grades_QG[query, places].tolist()


def solved(loss: torch.nn.Module, given: Lists) -> tuple[float, torch.Tensor]:
    """The loss and its gradient with respect to all scores."""
    scores_QN = given.scores_QN.detach().clone().requires_grad_()
    total, count = loss(dataclasses.replace(given, scores_QN=scores_QN))
    assert total.shape == torch.as_tensor(count).shape == ()
    value = total / max(int(count), 1)
    (gradient,) = torch.autograd.grad(value, scores_QN)
    return value.item(), gradient


def crossed(make: type, given: Lists, *, temperature: float, top: float = 1.0, **settings: object) -> torch.Tensor:
    """A cross-encoder loss of sentence-transformers on the batch's graded lists; a document's text is its place.

    ``top`` is the label of grade 1.
    """
    lists_of = [graded(given, query) for query in range(len(given.columns_QG))]
    texts = [[str(query * DOCS + column) for column in columns] for query, (columns, _) in enumerate(lists_of)]
    labels = [top * torch.tensor(grades) for _, grades in lists_of]
    model = _Known(given.scores_QN.flatten() / temperature)
    loss = make(model, mini_batch_size=-1, **settings)
    return loss([[""] * len(texts), texts], labels)


class _Known:
    """Stands for a cross-encoder that gives these logits."""

    num_labels, device = 1, torch.device("cpu")

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def preprocess(self, pairs: list[tuple[str, str]], **_: object) -> dict[str, torch.Tensor]:
        return {"places": torch.tensor([int(text) for _, text in pairs])}

    def __call__(self, tokens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"scores": self.logits[tokens["places"]]}
