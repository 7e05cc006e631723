"""The Wasserstein loss against the closed form with full covariances, and its known properties."""

import dataclasses
import math

import pytest
import torch
from scipy.linalg import sqrtm

from gradret.losses import Lists
from gradret.losses.wasserstein import Wasserstein

from .cases import lists, solved


def rows(given, temperature=1.0, levels=4):
    """``(p, y)``: the distributions of the queries with a grade, entry by entry."""
    p, y = [], []
    for q in range(len(given.scores_QN)):
        grades = dict.fromkeys(range(given.scores_QN.shape[1]), 0.0)
        grades |= {
            int(given.columns_QG[q, g]): float(given.grades_QG[q, g])
            for g in range(given.columns_QG.shape[1])
            if given.present_QG[q, g]
        }
        graded = any(given.present_QG[q] & ~given.grades_QG[q].isnan())
        out = [c for c, grade in grades.items() if math.isnan(grade) or given.masked_QN[q, c]]
        if graded:
            keep = torch.ones(len(grades), dtype=torch.float64).index_fill(0, torch.tensor(out, dtype=torch.int64), 0)
            targets = torch.tensor([grades[c] for c in range(len(grades))], dtype=torch.float64).nan_to_num()
            for into, logits in ((p, given.scores_QN[q] / temperature), (y, targets * (levels - 1))):
                weights = keep * logits.exp()
                into.append(weights / weights.sum())
    return torch.stack(p), torch.stack(y)


def gaussians(p, y):
    """The squared distance by ``(N, N)`` covariances, with autograd: the root's trace from eigenvalues."""
    correction = int(len(p) > 1)
    cov_p, cov_y = torch.cov(p.T, correction=correction), torch.cov(y.T, correction=correction)
    values, vectors = torch.linalg.eigh(cov_y)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    # Centred rows leave one rank less than there are rows; the roots of the other eigenvalues, all 0, have no slope.
    rank = min(len(p) - 1, p.shape[1])
    common = torch.linalg.eigvalsh(root @ cov_p @ root)[p.shape[1] - rank :].sqrt().sum()
    means = (p.mean(0) - y.mean(0)).square().sum()
    return means + cov_p.trace() + cov_y.trace() - 2 * common


@pytest.mark.parametrize(("temperature", "levels"), [(1.0, 4), (0.3, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_closed_form(seed, temperature, levels):
    given = lists(seed)
    given.grades_QG[2] = torch.nan
    loss = Wasserstein(temperature=temperature, levels=levels).load()
    value, gradient = solved(loss, given)

    p, y = (part.numpy() for part in rows(given, temperature, levels))
    cov_p, cov_y = torch.from_numpy(p).T.cov().numpy(), torch.from_numpy(y).T.cov().numpy()
    ridge = 1e-12 * torch.eye(12).numpy()  # sqrtm wants full rank
    root = sqrtm(cov_y + ridge)
    common = sqrtm(root @ (cov_p + ridge) @ root).real.trace()
    want = ((p.mean(0) - y.mean(0)) ** 2).sum() + cov_p.trace() + cov_y.trace() - 2 * common
    assert value == pytest.approx(want, abs=1e-6)

    leaf = given.scores_QN.clone().requires_grad_()
    other = gaussians(*rows(dataclasses.replace(given, scores_QN=leaf), temperature, levels))
    assert value == pytest.approx(other.item(), rel=1e-9)
    torch.testing.assert_close(gradient, torch.autograd.grad(other, leaf)[0], rtol=1e-6, atol=1e-9)


def plain(queries, length, seed=0):
    """A batch of full lists that share no document."""
    draw = torch.Generator().manual_seed(seed)
    docs = queries * length
    none_QG = torch.zeros(queries, length, dtype=torch.bool)
    return Lists(
        scores_QN=2 * torch.rand(queries, docs, generator=draw, dtype=torch.float64) - 1,
        columns_QG=torch.arange(docs).reshape(queries, length),
        present_QG=~none_QG,
        grades_QG=torch.rand(queries, length, generator=draw, dtype=torch.float64),
        teacher_QG=torch.full((queries, length), torch.nan, dtype=torch.float64),
        positives_QG=none_QG,
        masked_QN=torch.zeros(queries, docs, dtype=torch.bool),
        firsts_N=torch.zeros(docs, dtype=torch.bool),
        draws_Q=torch.zeros(queries, dtype=torch.int64),
    )


def perfect(given):
    """Scores whose distributions are the targets."""
    scores_QN = torch.zeros_like(given.scores_QN)
    for q in range(len(scores_QN)):
        scores_QN[q, given.columns_QG[q]] = 3 * given.grades_QG[q]
    return dataclasses.replace(given, scores_QN=scores_QN)


def test_is_zero_at_the_targets_even_for_the_wrong_queries():
    given = perfect(plain(6, 3))
    swapped = dataclasses.replace(given, scores_QN=given.scores_QN[torch.tensor([3, 0, 5, 1, 2, 4])])
    for each in (given, swapped):
        value, gradient = solved(Wasserstein().load(), each)
        assert value == pytest.approx(0, abs=1e-14)
        assert gradient.abs().max() < 1e-10
    assert solved(Wasserstein().load(), plain(6, 3))[0] > 1e-3


def test_exchanging_the_scores_of_queries_changes_nothing():
    given = plain(5, 3)
    places = torch.tensor([2, 4, 0, 1, 3])
    value, gradient = solved(Wasserstein().load(), given)
    other, moved = solved(Wasserstein().load(), dataclasses.replace(given, scores_QN=given.scores_QN[places]))
    assert other == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(moved, gradient[places], rtol=1e-9, atol=1e-14)


def test_one_query_is_the_distance_of_two_points():
    given = lists()
    given.grades_QG[1:] = torch.nan
    value, gradient = solved(Wasserstein().load(), given)
    leaf = given.scores_QN.clone().requires_grad_()
    p, y = rows(dataclasses.replace(given, scores_QN=leaf))
    want = (p - y).square().sum()
    assert value == pytest.approx(want.item(), rel=1e-12)
    torch.testing.assert_close(gradient, torch.autograd.grad(want, leaf)[0], rtol=1e-9, atol=1e-14)


def test_the_targets_are_those_of_the_papers_batch():
    """Read off one query's loss with all score on one column: ``1 - 2 y_c + |y|^2``, for every column."""
    given = plain(64, 4)
    given.grades_QG[0] = torch.tensor([3, 2, 1, 0]) / 3
    given.grades_QG[1:] = torch.nan
    # The other queries' documents are columns still, as in-batch documents of grade 0.
    loss = Wasserstein().load()
    losses = []
    for column in range(256):
        given.scores_QN[0] = 1e4 * (torch.arange(256) == column)
        losses.append(loss(given).total)
    losses_N = torch.stack(losses)
    targets_N = 1 / 256 + (losses_N.mean() - losses_N) / 2
    assert targets_N[:4].tolist() == pytest.approx([0.0709, 0.0261, 0.0096, 0.0035], abs=5e-5)
    assert float(targets_N[4:].sum()) == pytest.approx(0.8899, abs=5e-5)


def slopes(loss, given, step=1e-6):
    """The gradient by central differences."""
    slopes_QN = torch.zeros_like(given.scores_QN)
    for place in given.scores_QN.new_ones(given.scores_QN.shape).nonzero().tolist():
        shift = torch.zeros_like(given.scores_QN)
        shift[tuple(place)] = step
        above = loss(dataclasses.replace(given, scores_QN=given.scores_QN + shift)).total
        below = loss(dataclasses.replace(given, scores_QN=given.scores_QN - shift)).total
        slopes_QN[tuple(place)] = (above - below) / (2 * step)
    return slopes_QN


def equal_scores(given):
    given.scores_QN[:] = given.scores_QN[:1]


def two_queries_alike(given):
    given.scores_QN[1] = given.scores_QN[0]


def equal_grades(given):
    given.grades_QG[:] = 0.5


def one_query(given):
    given.grades_QG[1:] = torch.nan


def same_lists(given):
    given.columns_QG[:], given.grades_QG[:] = given.columns_QG[:1].clone(), given.grades_QG[:1].clone()


@pytest.mark.parametrize("change", [equal_scores, two_queries_alike, equal_grades, one_query, same_lists])
def test_the_gradient_is_the_slope_where_ranks_are_low(change):
    given = plain(4, 3)
    change(given)
    loss = Wasserstein().load()
    _, gradient = solved(loss, given)
    assert gradient.any()
    torch.testing.assert_close(gradient, slopes(loss, given), rtol=1e-5, atol=1e-7)


def test_the_gradient_is_the_slope_in_a_batch_whose_singular_values_are_tiny():
    given = plain(8, 4)
    given.scores_QN *= 1e-8
    loss = Wasserstein().load()
    leaf = given.scores_QN.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(gaussians(*rows(dataclasses.replace(given, scores_QN=leaf))), leaf)
    torch.testing.assert_close(solved(loss, given)[1], gradient, rtol=1e-4, atol=1e-9)


def test_counts_one_loss_a_batch_and_none_without_grades():
    loss = Wasserstein().load()
    assert int(loss(lists()).count) == 1
    given = dataclasses.replace(lists(), grades_QG=torch.full((5, 4), torch.nan).double())
    value, gradient = solved(loss, given)
    assert (value, int(loss(given).count)) == (0, 0)
    assert not gradient.any()


def test_a_score_that_is_no_number_makes_a_loss_that_is_none():
    given = plain(4, 3)
    given.scores_QN[1, 2] = torch.nan
    assert Wasserstein().load()(given).total.isnan()


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.0), ("levels", 1)])
def test_refuses_settings_that_mean_nothing(name, value):
    with pytest.raises(ValueError, match=f"{name}: must"):
        Wasserstein(**{name: value})
