"""KL against sentence-transformers' and against loops over floats."""

import math

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss

from gradret.losses import Lists
from gradret.losses.kl import KL

from .cases import lists, solved


@pytest.mark.parametrize(("student", "teacher"), [(1.0, 1.0), (0.05, 0.3), (2.0, 0.5)])
def test_equals_sentence_transformers(student, teacher):
    torch.manual_seed(0)
    queries, docs = torch.randn(6, 8, dtype=torch.float64), torch.randn(6, 5, 8, dtype=torch.float64)
    queries, docs = torch.nn.functional.normalize(queries, dim=-1), torch.nn.functional.normalize(docs, dim=-1)
    grades = torch.rand(6, 5, dtype=torch.float64)
    embeddings = [part.clone().requires_grad_() for part in (queries, *docs.unbind(1))]
    theirs = DistillKLDivLoss(None, student_temperature=student, teacher_temperature=teacher)
    # Theirs is multiplied by the square of the student's temperature.
    want = theirs.compute_loss_from_embeddings(embeddings, grades) / student**2

    mine = [part.clone().requires_grad_() for part in (queries, *docs.unbind(1))]
    given = Lists(
        scores_QN=mine[0] @ torch.cat(mine[1:]).T,
        columns_QG=torch.arange(30).reshape(5, 6).T,
        present_QG=torch.ones(6, 5, dtype=torch.bool),
        grades_QG=grades,
        positives_QG=torch.zeros(6, 5, dtype=torch.bool),
        masked_QN=torch.zeros(6, 30, dtype=torch.bool),
    )
    got = KL(student_temperature=student, teacher_temperature=teacher).load()(given)
    assert got.item() == pytest.approx(want.item(), rel=1e-12)
    for ours, other in zip(torch.autograd.grad(got, mine), torch.autograd.grad(want, embeddings), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop(seed):
    given = lists(seed)
    t, s = 0.3, 0.05
    total, gradient = 0.0, torch.zeros_like(given.scores_QN)
    for q in range(5):
        kept = [g for g in range(4) if given.present_QG[q, g] and not math.isnan(given.grades_QG[q, g])]
        columns = [int(given.columns_QG[q, g]) for g in kept]
        teacher = softmax([float(given.grades_QG[q, g]) / t for g in kept])
        student = softmax([float(given.scores_QN[q, column]) / s for column in columns])
        total += sum(p * math.log(p / r) for p, r in zip(teacher, student, strict=True))
        for column, p, r in zip(columns, teacher, student, strict=True):
            gradient[q, column] += (r - p) / s / 5
    value, got = solved(KL(teacher_temperature=0.3).load(), given)
    assert value == pytest.approx(total / 5, rel=1e-12)
    torch.testing.assert_close(got, gradient, rtol=1e-10, atol=1e-12)


def softmax(logits):
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def test_a_query_without_grades_adds_nothing():
    given = lists()
    given.grades_QG[4] = torch.nan
    value, gradient = solved(KL(teacher_temperature=0.3).load(), given)
    assert math.isfinite(value)
    assert not gradient[4].any()


@pytest.mark.parametrize("settings", [{"student_temperature": 0.0}, {"teacher_temperature": -1.0}])
def test_refuses_temperatures_that_turn_the_objective_around(settings):
    with pytest.raises(ValueError, match="above 0"):
        KL(**settings)
