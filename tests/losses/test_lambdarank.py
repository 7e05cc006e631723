"""LambdaRank against sentence-transformers' LambdaLoss and against nDCG recomputed after every swap."""

import dataclasses
import math

import pytest
import torch
from sentence_transformers.cross_encoder.losses import LambdaLoss, LambdaRankScheme, NDCGLoss2PPScheme

from gradret.losses.lambdarank import LambdaRank

from .cases import QUERIES, crossed, graded, lacking, lists, solved

GAINS = {
    "exponential": lambda grade, levels: 2 ** (grade * (levels - 1)) - 1,
    "linear": lambda grade, levels: grade,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [1.0, 0.05])
@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize(("mu", "scheme"), [(0.0, LambdaRankScheme()), (10.0, NDCGLoss2PPScheme())])
def test_equals_sentence_transformers(seed, temperature, levels, mu, scheme):
    given = lists(seed)
    value, gradient = solved(LambdaRank(temperature=temperature, levels=levels, mu=mu).load(), given)
    given.scores_QN.requires_grad_()
    want = crossed(LambdaLoss, given, temperature=temperature, top=levels - 1, weighting_scheme=scheme)
    # Theirs is to base 2, in float32, and a mean over pairs.
    pairs = sum(math.comb(len(graded(given, query)[0]), 2) for query in range(QUERIES))
    want = want * math.log(2) * pairs / QUERIES
    assert value == pytest.approx(want.item(), rel=1e-5)
    torch.testing.assert_close(gradient, torch.autograd.grad(want, given.scores_QN)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize("gain", GAINS)
def test_a_pair_weighs_what_its_swap_changes(seed, levels, gain):
    given, t = lists(seed), 0.05
    total, gradient = 0.0, torch.zeros_like(given.scores_QN)
    for q in range(QUERIES):
        columns, grades = graded(given, q)
        gains = {column: GAINS[gain](grade, levels) for column, grade in zip(columns, grades, strict=True)}
        order = sorted(columns, key=lambda column: -float(given.scores_QN[q, column]))
        for i in columns:
            for j in columns:
                if gains[i] > gains[j]:
                    swapped = [{i: j, j: i}.get(column, column) for column in order]
                    weight = abs(ndcg(order, gains) - ndcg(swapped, gains))
                    odds = math.exp(float(given.scores_QN[q, i] - given.scores_QN[q, j]) / t)
                    total -= weight * math.log(odds / (1 + odds))
                    gradient[q, i] -= weight / (1 + odds) / t
                    gradient[q, j] += weight / (1 + odds) / t
    value, got = solved(LambdaRank(gain=gain, levels=levels).load(), given)
    assert value == pytest.approx(total / QUERIES, rel=1e-10)
    torch.testing.assert_close(got, gradient / QUERIES, rtol=1e-9, atol=1e-12)


def ndcg(order, gains):
    def dcg(values):
        return sum(value / math.log2(rank + 2) for rank, value in enumerate(values))

    return dcg(gains[column] for column in order) / dcg(sorted(gains.values(), reverse=True))


def test_the_distance_of_ranks_weighs_by_mu():
    """A list in the right order: neighbours, and the two that are one apart."""
    given = lists()
    given.grades_QG = torch.full_like(given.grades_QG, torch.nan)
    given.grades_QG[0, :3] = torch.tensor([1.0, 0.5, 0.0])
    given.scores_QN[0, given.columns_QG[0, :3]] = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    first, second, third = (1 / math.log2(2 + rank) for rank in range(3))
    near, far = first - second, second - third  # of ranks one apart, of ranks two apart
    cost = [math.log1p(math.exp(-distance)) for distance in (1, 2)]
    plain = 0.5 * (first - second) * cost[0] + 0.5 * (second - third) * cost[0] + 1.0 * (first - third) * cost[1]
    added = 7 * (2 * 0.5 * near * cost[0] + 1.0 * far * cost[1])
    got = solved(LambdaRank(temperature=1, gain="linear", mu=7).load(), given)[0]
    assert got == pytest.approx((plain + added) / (first + 0.5 * second), rel=1e-12)


def test_equal_scores_rank_as_in_the_worst_order():
    given = lacking(lists(), "grade", [1, 2, 3, 4])
    columns = given.columns_QG[0]
    given.grades_QG[0] = torch.tensor([0.2, 1.0, 0.2, 0.6])
    given.scores_QN[0, columns] = 0.1
    tied, gradient = solved(LambdaRank().load(), given)
    # The same score, the same grade, the same push.
    assert gradient[0, columns[0]] == gradient[0, columns[2]] > 0

    def apart(step):
        scores = given.scores_QN.clone()
        scores[0, columns] += step * torch.tensor([0.0, 2.0, 0.0, 1.0], dtype=torch.float64)
        return solved(LambdaRank().load(), dataclasses.replace(given, scores_QN=scores))[0]

    assert tied == pytest.approx(apart(-1e-9), rel=1e-6)
    assert abs(tied - apart(1e-9)) > 0.01 * tied


@pytest.mark.parametrize("place", range(4))
def test_an_ungraded_document_takes_no_rank(place):
    given = lists()
    given.grades_QG[0] = torch.tensor([0.2, 1.0, 0.4, 0.6])
    given.grades_QG[0, place] = torch.nan
    before = solved(LambdaRank().load(), given)[0]
    given.scores_QN[0, given.columns_QG[0, place]] = 2.0
    assert solved(LambdaRank().load(), given)[0] == before


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", 0.0), ("temperature", math.nan), ("levels", 1), ("mu", -1.0), ("mu", math.nan)]
)
def test_refuses_what_turns_pairs_around(field, value):
    with pytest.raises(ValueError, match=f"{field}:? must be"):
        LambdaRank(**{field: value})
