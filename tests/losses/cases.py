"""Small batches for losses."""

from __future__ import annotations

import dataclasses

import torch

from gradret.losses import Lists


def lists(seed: int = 0, dtype: torch.dtype = torch.float64) -> Lists:
    """A batch with everything: short lists, ungraded and ungradable queries, several positives, masked columns.

    Query 0 has two positives and full grades, 1 a short list, 2 no positive, 3 an ungraded document
    and two masked columns, the last one of another query's positive; the rest are plain.
    """
    queries, docs, length = 5, 12, 4
    draw = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    columns_QG = torch.stack([torch.randperm(docs, generator=draw)[:length] for _ in range(queries)])
    present_QG = torch.ones(queries, length, dtype=torch.bool)
    grades_QG = uniform(queries, length)
    positives_QG = torch.zeros(queries, length, dtype=torch.bool)
    positives_QG[:, 0] = True
    positives_QG[0, 1] = True
    positives_QG[2, 0] = False
    present_QG[1, -1] = False
    columns_QG[1, -1] = 0
    grades_QG[1, -1] = torch.nan
    grades_QG[3, 1] = torch.nan
    masked_QN = torch.zeros(queries, docs, dtype=torch.bool)
    masked_QN[3, unlisted(columns_QG[3], docs)[:1]] = True
    # Its own positive is another query's: masked where the query does not list it.
    other = int(columns_QG[4, 0])
    masked_QN[3, other] = other not in columns_QG[3]
    return Lists(
        scores_QN=(2 * uniform(queries, docs) - 1).to(dtype),
        columns_QG=columns_QG,
        present_QG=present_QG,
        grades_QG=grades_QG.to(dtype),
        positives_QG=positives_QG,
        masked_QN=masked_QN,
    )


def unlisted(columns_G: torch.Tensor, docs: int) -> list[int]:
    """Columns that are not in the list."""
    return sorted(set(range(docs)) - set(columns_G.tolist()))


def solved(loss: torch.nn.Module, given: Lists) -> tuple[float, torch.Tensor]:
    """The loss and its gradient with respect to all scores."""
    scores_QN = given.scores_QN.detach().clone().requires_grad_()
    value = loss(dataclasses.replace(given, scores_QN=scores_QN))
    assert value.shape == ()
    (gradient,) = torch.autograd.grad(value, scores_QN)
    return value.item(), gradient
