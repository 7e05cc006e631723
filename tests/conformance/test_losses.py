"""What every loss must hold to; a new file in gradret/losses is tested as soon as it is there."""

import dataclasses

import pytest
import torch

from gradret import components

from ..losses.cases import lists, solved, unlisted

NAMES = components.names("losses")


@pytest.fixture(params=NAMES)
def loss(request):
    torch.manual_seed(0)
    return components.find("losses", request.param)().load().double()


def same(left, right, **tolerance):
    torch.testing.assert_close(left, right, **({"rtol": 1e-10, "atol": 1e-12} | tolerance))


def test_every_name_has_a_weight_and_a_docstring():
    assert {"kl", "infonce"} <= set(NAMES)
    for name in NAMES:
        made = components.find("losses", name)()
        assert made.weight == 1.0
        assert "Source:" in type(made).__doc__


def test_padding_has_no_effect(loss):
    given = lists()
    shape = (5, 3)
    padded = dataclasses.replace(
        given,
        columns_QG=torch.cat([given.columns_QG, torch.zeros(shape, dtype=torch.int64)], 1),
        present_QG=torch.cat([given.present_QG, torch.zeros(shape, dtype=torch.bool)], 1),
        grades_QG=torch.cat([given.grades_QG, torch.full(shape, torch.nan, dtype=torch.float64)], 1),
        positives_QG=torch.cat([given.positives_QG, torch.zeros(shape, dtype=torch.bool)], 1),
    )
    same(solved(loss, padded)[0], solved(loss, given)[0])
    same(solved(loss, padded)[1], solved(loss, given)[1])


def test_the_order_of_a_list_has_no_effect(loss):
    given = lists()
    shuffled = dataclasses.replace(given)
    for name in ("columns_QG", "present_QG", "grades_QG", "positives_QG"):
        # Positives stay first; the padding of query 1 moves into the middle.
        setattr(shuffled, name, torch.cat([getattr(given, name)[:, :2], getattr(given, name)[:, 2:].flip(1)], 1))
    assert not torch.equal(shuffled.present_QG, given.present_QG)
    same(solved(loss, shuffled)[0], solved(loss, given)[0])
    same(solved(loss, shuffled)[1], solved(loss, given)[1])


def test_the_order_of_queries_and_columns_has_no_effect(loss):
    given = lists()
    queries, docs = torch.randperm(5), torch.randperm(12)
    places = torch.argsort(docs)
    mixed = dataclasses.replace(
        given,
        scores_QN=given.scores_QN[queries][:, docs],
        columns_QG=places[given.columns_QG[queries]],
        present_QG=given.present_QG[queries],
        grades_QG=given.grades_QG[queries],
        positives_QG=given.positives_QG[queries],
        masked_QN=given.masked_QN[queries][:, docs],
    )
    same(solved(loss, mixed)[0], solved(loss, given)[0])
    same(solved(loss, mixed)[1], solved(loss, given)[1][queries][:, docs])


@pytest.mark.parametrize("size", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_scores_stay_finite(loss, size, dtype):
    given = lists(dtype=dtype)
    given.scores_QN = torch.where(torch.rand(5, 12) < 0.5, size, -size).to(dtype)
    value, gradient = solved(loss.to(dtype), given)
    assert abs(value) < float("inf")
    assert gradient.isfinite().all()


@pytest.mark.parametrize("grade", [0.0, 0.5, 1.0, torch.nan])
def test_equal_grades_stay_finite(loss, grade):
    value, gradient = solved(loss, dataclasses.replace(lists(), grades_QG=torch.full((5, 4), grade).double()))
    assert abs(value) < float("inf")
    assert gradient.isfinite().all()


def test_the_gradient_is_the_slope(loss):
    given = lists()
    scores = given.scores_QN.clone().requires_grad_()
    parameters = tuple(loss.parameters())

    def value(scores, *_):
        return loss(dataclasses.replace(given, scores_QN=scores))

    assert torch.autograd.gradcheck(value, (scores, *parameters), eps=1e-7, atol=1e-5)


def test_a_masked_column_changes_nothing(loss):
    """All queries know this document to be relevant and none lists it: as if it were not there."""
    given = lists()
    extra = 7 * torch.ones(5, 1, dtype=torch.float64)
    more = dataclasses.replace(
        given,
        scores_QN=torch.cat([given.scores_QN, extra], 1),
        masked_QN=torch.cat([given.masked_QN, extra > 0], 1),
    )
    value, gradient = solved(loss, more)
    same(value, solved(loss, given)[0])
    same(gradient[:, :-1], solved(loss, given)[1])
    assert not gradient[:, -1].any()


def test_a_document_known_to_be_relevant_is_never_a_negative(loss):
    given = lists()
    given.masked_QN[0, unlisted(given.columns_QG[0], 12)] = True
    value, gradient = solved(loss, given)
    assert not gradient[given.masked_QN].any()
    moved = given.scores_QN.clone()
    moved[given.masked_QN] += 5
    same(solved(loss, dataclasses.replace(given, scores_QN=moved))[0], value)
