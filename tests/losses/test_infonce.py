"""InfoNCE against sentence-transformers' and against loops over floats."""

import dataclasses
import math

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from gradret.losses import Lists
from gradret.losses.infonce import InfoNCE

from .cases import firsts, lists, solved


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.01])
@pytest.mark.parametrize("hard_negatives", [False, True])
def test_equals_sentence_transformers(temperature, hard_negatives):
    torch.manual_seed(0)
    texts = torch.nn.functional.normalize(torch.randn(4, 6, 8, dtype=torch.float64), dim=-1)
    theirs = MultipleNegativesRankingLoss(None, scale=1 / temperature)
    parts = [part.clone().requires_grad_() for part in texts]
    want = theirs.compute_loss_from_embeddings(parts if hard_negatives else parts[:2], None)

    mine = [part.clone().requires_grad_() for part in texts]
    given = Lists(
        scores_QN=mine[0] @ torch.cat(mine[1:]).T,
        columns_QG=torch.arange(18).reshape(3, 6).T,
        present_QG=torch.ones(6, 3, dtype=torch.bool),
        grades_QG=torch.full((6, 3), torch.nan, dtype=torch.float64),
        teacher_QG=torch.full((6, 3), torch.nan, dtype=torch.float64),
        positives_QG=torch.tensor([True, False, False]).expand(6, 3),
        masked_QN=torch.zeros(6, 18, dtype=torch.bool),
        firsts_N=torch.arange(18) < 6,
        draws_Q=torch.zeros(6, dtype=torch.int64),
    )
    total, count = InfoNCE(temperature=temperature, hard_negatives=hard_negatives).load()(given)
    got = total / count
    assert got.item() == pytest.approx(want.item(), rel=1e-12)
    ours = torch.autograd.grad(got, mine, materialize_grads=True)
    # cos_sim normalises again, so only the part of the gradient along the sphere is theirs.
    other = torch.autograd.grad(want, parts, allow_unused=True, materialize_grads=True)
    for left, right, place in zip(ours, other, texts, strict=True):
        along = left - (left * place).sum(1, keepdim=True) * place
        torch.testing.assert_close(along, right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hard_negatives", [False, True])
def test_equals_a_loop(seed, hard_negatives):
    given, t = lists(seed), 0.05
    first = [int(given.columns_QG[q, 0]) if given.positives_QG[q, 0] else None for q in range(5)]
    total, gradient = 0.0, torch.zeros_like(given.scores_QN)
    for q in range(5):
        if first[q] is None:
            continue
        relevant = {int(c) for c, p in zip(given.columns_QG[q], given.positives_QG[q], strict=True) if p}
        relevant |= set(given.masked_QN[q].nonzero()[:, 0].tolist())
        candidates = range(12) if hard_negatives else {column for column in first if column is not None}
        rivals = [c for c in candidates if c == first[q] or c not in relevant]
        weights = {c: math.exp(float(given.scores_QN[q, c]) / t) for c in rivals}
        whole = sum(weights.values())
        total -= math.log(weights[first[q]] / whole)
        for column, weight in weights.items():
            gradient[q, column] += (weight / whole - (column == first[q])) / t / 4
    value, got = solved(InfoNCE(hard_negatives=hard_negatives).load(), given)
    assert value == pytest.approx(total / 4, rel=1e-12)
    torch.testing.assert_close(got, gradient, rtol=1e-10, atol=1e-12)


def test_the_other_listed_positives_are_no_negatives():
    given = lists()
    moved = given.scores_QN.clone()
    moved[0, given.columns_QG[0, 1]] += 3
    for hard_negatives in (False, True):
        loss = InfoNCE(hard_negatives=hard_negatives).load()
        assert float(loss(given).total) == float(loss(dataclasses.replace(given, scores_QN=moved)).total)


def test_a_batch_without_positives_is_zero():
    none = torch.zeros(5, 4, dtype=torch.bool)
    given = dataclasses.replace(lists(), positives_QG=none, firsts_N=firsts(lists().columns_QG, none, 12))
    value, gradient = solved(InfoNCE().load(), given)
    assert value == 0
    assert not gradient.any()


def test_refuses_a_temperature_that_turns_the_objective_around():
    with pytest.raises(ValueError, match=r"temperature: must be above 0"):
        InfoNCE(temperature=0)
