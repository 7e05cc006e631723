"""ListNet against sentence-transformers', against loops over floats, and against KL."""

import math

import pytest
import torch
from sentence_transformers.cross_encoder.losses import ListNetLoss

from gradret.losses.kl import KL
from gradret.losses.listnet import ListNet

from .cases import QUERIES, crossed, graded, lists, solved


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("temperature", "teacher"), [(1.0, 1.0), (0.05, 0.15), (2.0, 0.5)])
def test_equals_sentence_transformers(seed, temperature, teacher):
    given = lists(seed)
    value, gradient = solved(ListNet(temperature=temperature, teacher_temperature=teacher).load(), given)
    given.scores_QN.requires_grad_()
    # In float32.
    want = crossed(ListNetLoss, given, temperature=temperature, top=1 / teacher)
    assert value == pytest.approx(want.item(), rel=1e-5)
    torch.testing.assert_close(gradient, torch.autograd.grad(want, given.scores_QN)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop(seed):
    given, t, s = lists(seed), 0.15, 0.05
    total, gradient = 0.0, torch.zeros_like(given.scores_QN)
    for q in range(QUERIES):
        columns, grades = graded(given, q)
        teacher = softmax([grade / t for grade in grades])
        student = softmax([float(given.scores_QN[q, column]) / s for column in columns])
        total -= sum(p * math.log(r) for p, r in zip(teacher, student, strict=True))
        for column, p, r in zip(columns, teacher, student, strict=True):
            gradient[q, column] += (r - p) / s / QUERIES
    value, got = solved(ListNet(temperature=s, teacher_temperature=t).load(), given)
    assert value == pytest.approx(total / QUERIES, rel=1e-12)
    torch.testing.assert_close(got, gradient, rtol=1e-10, atol=1e-12)


def softmax(logits):
    weights = [math.exp(logit) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def test_has_the_gradient_of_kl():
    given = lists()
    mine = solved(ListNet(temperature=0.1, teacher_temperature=0.3).load(), given)
    kl = solved(KL(student_temperature=0.1, teacher_temperature=0.3).load(), given)
    assert mine[0] > kl[0]
    torch.testing.assert_close(mine[1], kl[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("field", ["temperature", "teacher_temperature"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_refuses_temperatures_that_are_not_above_0(field, value):
    with pytest.raises(ValueError, match=f"{field}: must be above 0"):
        ListNet(**{field: value})
