"""RankNet against sentence-transformers', against cross-entropy of pairs, and against loops over floats."""

import math

import pytest
import torch
from sentence_transformers.cross_encoder.losses import RankNetLoss

from gradret.losses.ranknet import RankNet

from .cases import QUERIES, crossed, graded, lists, solved


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_equals_sentence_transformers(seed, temperature):
    given = lists(seed)
    value, gradient = solved(RankNet(temperature=temperature).load(), given)
    given.scores_QN.requires_grad_()
    # Theirs is to base 2, in float32.
    want = crossed(RankNetLoss, given, temperature=temperature) * math.log(2)
    assert value == pytest.approx(want.item(), rel=1e-5)
    torch.testing.assert_close(gradient, torch.autograd.grad(want, given.scores_QN)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop(seed):
    given, t = lists(seed), 0.05
    total, pairs, gradient = 0.0, 0, torch.zeros_like(given.scores_QN)
    for q in range(QUERIES):
        columns, grades = graded(given, q)
        for i, high in zip(columns, grades, strict=True):
            for j, low in zip(columns, grades, strict=True):
                if high > low:
                    odds = math.exp(float(given.scores_QN[q, i] - given.scores_QN[q, j]) / t)
                    total, pairs = total - math.log(odds / (1 + odds)), pairs + 1
                    gradient[q, i] -= 1 / (1 + odds) / t
                    gradient[q, j] += 1 / (1 + odds) / t
    loss = RankNet().load()
    value, got = solved(loss, given)
    assert int(loss(given).count) == pairs
    assert value == pytest.approx(total / pairs, rel=1e-10)
    torch.testing.assert_close(got, gradient / pairs, rtol=1e-10, atol=1e-12)


def test_equal_scores_cost_ln_2_a_pair():
    given = lists()
    given.scores_QN.zero_()
    assert solved(RankNet().load(), given)[0] == pytest.approx(math.log(2), rel=1e-12)


def test_only_the_order_of_the_grades_matters():
    given = lists()
    before = solved(RankNet().load(), given)[0]
    given.grades_QG = given.grades_QG**3 / 2
    assert solved(RankNet().load(), given)[0] == before


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_refuses_a_temperature_that_is_not_above_0(temperature):
    with pytest.raises(ValueError, match=r"temperature: must be above 0"):
        RankNet(temperature=temperature)
