"""MarginMSE against sentence-transformers' and against loops over floats."""

import dataclasses
import math

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MarginMSELoss

from gradret.losses import Lists
from gradret.losses.margin_mse import MarginMSE

from .cases import LENGTH, QUERIES, lists, solved


@pytest.mark.parametrize("negatives", [1, 4])
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_equals_sentence_transformers(negatives, scale):
    torch.manual_seed(0)
    texts = torch.randn(2 + negatives, 6, 8, dtype=torch.float64)
    labels = 5 * torch.randn(6, 1 + negatives, dtype=torch.float64)
    parts = [part.clone().requires_grad_() for part in texts]
    # Theirs has no scale: longer queries give higher scores.
    want = MarginMSELoss(None).compute_loss_from_embeddings([scale * parts[0], *parts[1:]], labels)

    mine = [part.clone().requires_grad_() for part in texts]
    docs = 6 * (1 + negatives)
    given = Lists(
        scores_QN=mine[0] @ torch.cat(mine[1:]).T,
        columns_QG=torch.arange(docs).reshape(-1, 6).T,
        present_QG=torch.ones(6, 1 + negatives, dtype=torch.bool),
        grades_QG=torch.full((6, 1 + negatives), torch.nan, dtype=torch.float64),
        teacher_QG=labels,
        positives_QG=(torch.arange(1 + negatives) == 0).expand(6, -1),
        masked_QN=torch.zeros(6, docs, dtype=torch.bool),
        firsts_N=torch.arange(docs) < 6,
        draws_Q=torch.zeros(6, dtype=torch.int64),
    )
    total, count = MarginMSE(scale=scale).load()(given)
    got = total / count
    assert got.item() == pytest.approx(want.item(), rel=1e-12)
    for ours, theirs in zip(torch.autograd.grad(got, mine), torch.autograd.grad(want, parts), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_equals_a_loop(seed, scale):
    given = lists(seed)
    total, pairs, gradient = 0.0, 0, torch.zeros_like(given.scores_QN)
    for q in range(QUERIES):
        teacher = given.teacher_QG[q].tolist()
        if not given.positives_QG[q, 0] or math.isnan(teacher[0]):
            continue
        first = given.columns_QG[q, 0]
        for g in range(1, LENGTH):
            if not given.present_QG[q, g] or given.positives_QG[q, g] or math.isnan(teacher[g]):
                continue
            other = given.columns_QG[q, g]
            error = scale * float(given.scores_QN[q, first] - given.scores_QN[q, other]) - (teacher[0] - teacher[g])
            total, pairs = total + error**2, pairs + 1
            gradient[q, first] += 2 * scale * error
            gradient[q, other] -= 2 * scale * error
    loss = MarginMSE(scale=scale).load()
    value, got = solved(loss, given)
    assert int(loss(given).count) == pairs
    assert value == pytest.approx(total / pairs, rel=1e-12)
    torch.testing.assert_close(got, gradient / pairs, rtol=1e-10, atol=1e-12)


def test_the_teachers_own_scores_are_the_minimum():
    given = lists()
    scores = given.scores_QN.clone()
    for q in range(QUERIES):
        for g in range(LENGTH):
            if given.present_QG[q, g] and not given.teacher_QG[q, g].isnan():
                scores[q, given.columns_QG[q, g]] = given.teacher_QG[q, g] / 4 + q
    value, gradient = solved(MarginMSE(scale=4).load(), dataclasses.replace(given, scores_QN=scores))
    assert value == pytest.approx(0, abs=1e-20)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_without_the_first_positives_score_a_query_has_no_pair():
    given = lists()
    loss = MarginMSE().load()
    before = int(loss(given).count)
    given.teacher_QG[0, 0] = torch.nan
    assert int(loss(given).count) == before - 2  # four documents, two of them positives
    assert not solved(loss, given)[1][0].any()


def test_the_second_positive_is_in_no_pair():
    given = lists()
    assert given.positives_QG[0, 1]
    _, gradient = solved(MarginMSE().load(), given)
    assert gradient[0, given.columns_QG[0, 1]] == 0
    assert gradient[0, given.columns_QG[0, 2]] != 0


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_refuses_a_scale_that_is_not_above_0(scale):
    with pytest.raises(ValueError, match=r"scale: must be above 0"):
        MarginMSE(scale=scale)
