"""BiXSE against torch's cross-entropy pair by pair, SigLIP's formula and closed forms."""

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from gradret.losses import Lists
from gradret.losses.bixse import BiXSE
from gradret.training.batches import Groups

from .cases import lists, solved


def pair(score: float, grade: float) -> Lists:
    """One query, one document."""
    return square(torch.tensor([[score]], dtype=torch.float64), torch.tensor([[grade]], dtype=torch.float64))


def square(scores_QN: torch.Tensor, grades_QG: torch.Tensor) -> Lists:
    """Every query lists one document, which is the column of its number."""
    queries = len(scores_QN)
    none_Q1 = torch.zeros(queries, 1, dtype=torch.bool)
    return Lists(
        scores_QN=scores_QN,
        columns_QG=torch.arange(queries)[:, None],
        present_QG=~none_Q1,
        grades_QG=grades_QG,
        teacher_QG=torch.full_like(grades_QG, torch.nan),
        positives_QG=none_Q1,
        masked_QN=torch.zeros_like(scores_QN, dtype=torch.bool),
        firsts_N=torch.zeros(scores_QN.shape[1], dtype=torch.bool),
        draws_Q=torch.zeros(queries, dtype=torch.int64),
    )


def by_pairs(given, scores_QN, scale, bias, reduction):
    """Torch's cross-entropy of probabilities, one pair at a time."""
    terms, queries = [], 0
    for q in range(len(scores_QN)):
        listed = [g for g in range(given.columns_QG.shape[1]) if given.present_QG[q, g]]
        grades = {int(given.columns_QG[q, g]): float(given.grades_QG[q, g]) for g in listed}
        if all(math.isnan(grade) for grade in grades.values()):
            continue
        queries += 1
        for column in range(scores_QN.shape[1]):
            grade = grades.get(column, 0.0)
            if not given.masked_QN[q, column] and not math.isnan(grade):
                target = torch.tensor(grade, dtype=torch.float64)
                terms.append(functional.binary_cross_entropy((scale * scores_QN[q, column] + bias).sigmoid(), target))
    return torch.stack(terms).sum() / (len(terms) if reduction == "pairs" else queries)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reduction", ["pairs", "queries"])
def test_equals_torchs_cross_entropy_pair_by_pair(seed, reduction):
    given = lists(seed)
    given.grades_QG[4] = torch.nan  # leaves altogether
    loss = BiXSE(scale=5.0, learn_scale=True, bias=-2.0, reduction=reduction).load().double()
    scores = given.scores_QN.clone().requires_grad_()
    want = by_pairs(given, scores, loss.log_scale.exp(), loss.bias, reduction)
    total, count = loss(dataclasses.replace(given, scores_QN=scores))
    gots, wants = (torch.autograd.grad(x, [scores, loss.log_scale, loss.bias]) for x in (total / count, want))
    torch.testing.assert_close((total / count, *gots), (want, *wants), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reduction", ["pairs", "queries"])
def test_a_fixed_scale_is_the_plain_number(reduction):
    given = lists()
    scores = given.scores_QN.clone().requires_grad_()
    want = by_pairs(given, scores, 5.0, -2.0, reduction)
    value, gradient = solved(BiXSE(scale=5.0, bias=-2.0, learn_bias=False, reduction=reduction).load(), given)
    assert value == pytest.approx(want.item(), rel=1e-12)
    torch.testing.assert_close(gradient, torch.autograd.grad(want, scores)[0], rtol=1e-10, atol=1e-12)
    learned, _ = solved(BiXSE(scale=5.0, bias=-2.0, learn_scale=True, reduction=reduction).load(), given)
    assert learned == pytest.approx(value, rel=1e-6)


def test_with_hard_labels_is_siglip():
    torch.manual_seed(0)
    scores = 2 * torch.rand(6, 6, dtype=torch.float64) - 1
    t, b, total = 10.0, -10.0, 0.0
    for i in range(6):
        for j in range(6):
            y = 1 if i == j else -1
            total += math.log(1 + math.exp(-y * (t * float(scores[i, j]) + b)))
    given = square(scores, torch.ones(6, 1, dtype=torch.float64))
    value, _ = solved(BiXSE(scale=t, bias=b, reduction="queries").load(), given)
    assert value == pytest.approx(total / 6, rel=1e-12)


@pytest.mark.parametrize("z", [0.02, 0.3, 0.5, 0.9])
def test_a_pair_is_at_its_best_where_its_probability_is_its_grade(z):
    loss = BiXSE(scale=2.0, bias=-1.0).load()
    best = (math.log(z / (1 - z)) + 1) / 2
    value, gradient = solved(loss, pair(best, z))
    assert value == pytest.approx(-z * math.log(z) - (1 - z) * math.log(1 - z), rel=1e-12)
    assert gradient.abs().max() < 1e-12
    assert solved(loss, pair(best - 0.1, z))[0] > value < solved(loss, pair(best + 0.1, z))[0]


@pytest.mark.parametrize("grade", [0.0, 1.0])
def test_the_best_scores_for_hard_labels_cost_nothing(grade):
    assert solved(BiXSE().load(), pair(1e4 if grade else -1e4, grade))[0] == 0


def test_the_documented_start_is_where_unrelated_scores_leave_the_bias():
    """One relevant document among N columns, all with the same score c."""
    columns, c = 50, 0.2
    scores = torch.full((columns, columns), c, dtype=torch.float64)
    given = square(scores, torch.ones(columns, 1, dtype=torch.float64))
    loss = BiXSE(scale=20.0, bias=-math.log(columns - 1) - 20 * c).load().double()
    total, count = loss(given)
    (slope,) = torch.autograd.grad(total / count, list(loss.parameters()))
    assert abs(slope.item()) < 1e-8


@pytest.mark.parametrize(
    ("settings", "learned"),
    [
        ({}, {"bias"}),
        ({"learn_scale": True}, {"bias", "log_scale"}),
        ({"learn_bias": False}, set()),
    ],
)
def test_learns_what_it_is_told_to(settings, learned):
    parameters = dict(BiXSE(**settings).load().named_parameters())
    assert set(parameters) == learned
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in parameters.values())


@pytest.mark.parametrize("reduction", ["pairs", "queries"])
def test_a_batch_without_grades_is_zero(reduction):
    given = dataclasses.replace(lists(), grades_QG=torch.full((5, 4), torch.nan).double())
    loss = BiXSE(learn_scale=True, reduction=reduction).load()
    total, count = loss(given)
    assert total == count == 0
    assert not any(slope.any() for slope in torch.autograd.grad(total, list(loss.parameters())))


@pytest.mark.parametrize("scale", [0.0, -20.0])
def test_refuses_a_scale_that_turns_the_objective_around(scale):
    with pytest.raises(ValueError, match=r"scale: must be above 0"):
        BiXSE(scale=scale)


def test_one_labelled_pair_a_query_is_siglips_matrix_with_soft_targets():
    """Lists of one, as ``train.list_length: 1`` draws them: a query's own document has its grade, all others 0."""
    docs = [f"d{number}" for number in range(6)]
    rows = [
        {"query_id": f"q{number}", "doc_ids": [doc, docs[(number + 1) % 6]], "grades": [number / 5, 0.9]}
        | {"scores": [0.0, 0.0], "positives": [True, False], "relevant_doc_ids": [doc]}
        for number, doc in enumerate(docs)
    ]
    drawn = Groups(pa.Table.from_pylist(rows), pa.array(docs), 1, 0).batch(np.arange(6), 0)
    assert drawn.columns_QG.tolist() == [[number] for number in range(6)]
    torch.manual_seed(0)
    scores = torch.rand(6, 6, dtype=torch.float64)
    given = square(scores, torch.from_numpy(drawn.grades_QG).double())
    value, _ = solved(BiXSE(learn_bias=False).load(), given)
    targets = torch.diag(torch.arange(6, dtype=torch.float32) / 5).double()
    want = torch.nn.functional.binary_cross_entropy(torch.sigmoid(20 * scores - 10), targets)
    assert value == pytest.approx(want.item(), rel=1e-9)
