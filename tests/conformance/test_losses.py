"""Laws for every loss; a new file in gradret/losses is tested automatically."""

import copy
import dataclasses
import types
import typing

import pytest
import torch

from gradret import components
from gradret.losses import NEEDS, Mean
from gradret.training.objective import as_module

from ..losses.cases import DOCS, LENGTH, QUERIES, fields, lacking, lists, mixed, rows, unlisted
from .made import outside

# Losses of other packages too: GRADRET_LOSSES="package.module:Class ..." pytest tests/conformance/test_losses.py
NAMES = [*components.names("losses"), *(node["name"] for node in outside("losses"))]


def choices(hint):
    """Every value that a switch may have; none where the hint is of no switch."""
    if hint is bool:
        return [False, True]
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return [value for part in typing.get_args(hint) for value in choices(part)]
    return []


def variants(name):
    """The default fields, and every other choice of every switch, one at a time."""
    cls = components.find("losses", name)
    hints = typing.get_type_hints(cls)
    yield {}
    for field in dataclasses.fields(cls):
        for value in choices(hints[field.name]):
            if value in (field.default, "calibrated"):  # what is to be calibrated cannot be loaded yet
                continue
            try:
                cls(**{field.name: value})
            except ValueError:
                continue
            yield {field.name: value}


CASES = [(name, settings) for name in NAMES for settings in variants(name)]


def label(case):
    name, settings = case
    return "-".join([name, *(f"{key}={value}" for key, value in settings.items())])


@pytest.fixture(params=CASES, ids=label)
def component(request):
    name, settings = request.param
    return components.find("losses", name)(**settings)


@pytest.fixture
def loss(component):
    torch.manual_seed(0)
    return as_module(component.load()).double()


def solved(loss, given):
    """Total, count and the total's gradients: to all scores, then to the loss's parameters."""
    scores_QN = given.scores_QN.detach().clone().requires_grad_()
    mean = loss(dataclasses.replace(given, scores_QN=scores_QN))
    gradients = torch.autograd.grad(mean.total, [scores_QN, *loss.parameters()], materialize_grads=True)
    return mean.total.detach(), mean.count, *gradients


def same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def finite(found):
    return all(part.isfinite().all() for part in found)


def test_every_switch_is_turned():
    assert {"infonce", "kl", "wasserstein"} <= set(NAMES)
    for case in [("infonce", {}), ("infonce", {"hard_negatives": False}), ("lambdarank", {"gain": "linear"})]:
        assert case in CASES
    assert ("kl", {"student_temperature": "calibrated"}) not in CASES


@pytest.mark.parametrize("name", NAMES)
def test_it_declares_what_train_asks(name):
    cls = components.find("losses", name)
    assert cls().weight == 1.0
    assert isinstance(cls().needs, tuple)
    assert set(cls().needs) <= set(NEEDS)
    assert isinstance(cls.whole_batch, bool)


@pytest.mark.parametrize("name", NAMES)
def test_its_docstring_says_where_it_is_from_and_how_sure_that_is(name):
    doc = components.find("losses", name).__doc__
    assert "Source:" in doc
    assert "verified" in doc or "reconstruction" in doc


def test_it_is_a_mean(loss):
    mean = loss(dataclasses.replace(lists(), scores_QN=lists().scores_QN.requires_grad_()))
    assert isinstance(mean, Mean)
    assert mean.total.shape == mean.count.shape == ()
    assert mean.total.requires_grad
    assert not mean.count.requires_grad
    assert mean.count > 0


def test_its_weight_is_for_the_sum_of_losses(component, loss):
    heavy = as_module(dataclasses.replace(component, weight=3.0).load()).double()
    same(solved(heavy, lists()), solved(loss, lists()))


def test_it_leaves_the_lists_as_they_are(loss):
    """All losses of a sum are given the same."""
    given = lists()
    before = copy.deepcopy(given)
    loss(given)
    for field in dataclasses.fields(given):
        assert torch.equal(getattr(given, field.name).nan_to_num(-7), getattr(before, field.name).nan_to_num(-7))


@pytest.mark.parametrize(
    ("grade", "score", "positive"),
    [(torch.nan, torch.nan, False), (0.9, 7.0, False), (0.9, 7.0, True)],
    ids=["empty", "graded", "positive"],
)
def test_padding_has_no_effect(loss, grade, score, positive):
    """``present_QG`` alone says what a list holds."""
    given = lists()
    fill = {"columns_QG": 0, "present_QG": False, "grades_QG": grade, "teacher_QG": score, "positives_QG": positive}
    assert set(fill) == set(fields("QG"))
    padded = {name: torch.nn.functional.pad(getattr(given, name), (0, 3), value=value) for name, value in fill.items()}
    same(solved(loss, dataclasses.replace(given, **padded)), solved(loss, given))


def test_the_order_of_a_list_has_no_effect(loss):
    """Positives stay first, in their order; the padding of query 1 moves into the middle."""
    given = lists()
    order = [0, 1, *reversed(range(2, LENGTH))]
    shuffled = dataclasses.replace(given, **{name: getattr(given, name)[:, order] for name in fields("QG")})
    assert not torch.equal(shuffled.present_QG, given.present_QG)
    same(solved(loss, shuffled), solved(loss, given))


def test_the_order_of_queries_and_columns_has_no_effect(loss):
    given = lists()
    queries, docs = torch.randperm(QUERIES), torch.randperm(DOCS)
    total, count, gradient_QN, *others = solved(loss, given)
    same(solved(loss, mixed(rows(given, queries), docs)), (total, count, gradient_QN[queries][:, docs], *others))


def test_blocks_of_queries_add_up(component, loss):
    if component.whole_batch:
        # It says that they do not: true of no loss that is a sum over queries.
        blocks = [loss(rows(lists(), torch.tensor([query]))).total for query in range(QUERIES)]
        assert not torch.isclose(sum(blocks), loss(lists()).total)
        return
    blocks = [solved(loss, rows(lists(), torch.tensor(block))) for block in ([0], [1, 2], [3, 4])]
    totals, counts, gradients, *others = zip(*blocks, strict=True)
    same((sum(totals), sum(counts), torch.cat(gradients), *map(sum, others)), solved(loss, lists()))


@pytest.mark.parametrize("size", [1e4, -1e4, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_scores_stay_finite(loss, size, dtype):
    given = lists(dtype=dtype)
    given.scores_QN = torch.where(torch.rand(QUERIES, DOCS) < 0.5, size, -size).to(dtype)
    assert finite(solved(loss.to(dtype), given))
    given.scores_QN = torch.full((QUERIES, DOCS), size, dtype=dtype)
    assert finite(solved(loss, given))


@pytest.mark.parametrize("grade", [0.0, 0.5, 1.0, torch.nan])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_grades_stay_finite(loss, grade, dtype):
    given = lists(dtype=dtype)
    given.grades_QG = torch.full((QUERIES, LENGTH), grade, dtype=dtype)
    assert finite(solved(loss.to(dtype), given))


def test_the_gradient_is_the_slope(loss):
    """The scores are no ties and near none, so that an order or a maximum is the same a step to each side."""
    given = lists()
    scores_QN = given.scores_QN.clone().requires_grad_()
    gaps = given.scores_QN.sort(dim=1).values.diff(dim=1)
    assert gaps.min() > 1e-4

    def total(scores_QN, *parameters):
        return loss(dataclasses.replace(given, scores_QN=scores_QN)).total

    # A parameter is stepped in place, so the loss need not be given it.
    assert torch.autograd.gradcheck(total, (scores_QN, *loss.parameters()), eps=1e-7, atol=1e-5)


def test_a_masked_column_changes_nothing(loss):
    """All queries know this document to be relevant and none of them lists it: as if it were not there."""
    given = lists()
    extra = torch.ones(QUERIES, 1, dtype=torch.bool)
    more = dataclasses.replace(
        given,
        scores_QN=torch.cat([given.scores_QN, 7.0 * extra], 1),
        masked_QN=torch.cat([given.masked_QN, extra], 1),
        firsts_N=torch.cat([given.firsts_N, extra[0]]),
    )
    total, count, gradient_QN, *others = solved(loss, more)
    same((total, count, gradient_QN[:, :-1], *others), solved(loss, given))
    assert not gradient_QN[:, -1].any()


def test_a_document_known_to_be_relevant_is_never_a_negative(loss):
    given = lists()
    given.masked_QN[0, unlisted(given.columns_QG[0], DOCS)] = True
    found = solved(loss, given)
    assert not found[2][given.masked_QN].any()
    moved = given.scores_QN.clone()
    moved[given.masked_QN] += 5
    same(solved(loss, dataclasses.replace(given, scores_QN=moved)), found)


@pytest.mark.parametrize("query", range(QUERIES))
def test_a_query_that_lacks_what_is_needed_adds_nothing(component, loss, query):
    """Its documents stay: they are columns of the other queries."""
    others = torch.tensor([other for other in range(QUERIES) if other != query])
    for need in component.needs:
        given = lacking(lists(), need, [query])
        total, count, gradient_QN, *parameters = solved(loss, given)
        assert not gradient_QN[query].any()
        same((total, count, gradient_QN[others], *parameters), solved(loss, rows(given, others)))


def test_where_no_query_has_what_is_needed_the_loss_is_0(component, loss):
    for need in component.needs:
        assert not any(part.any() for part in solved(loss, lacking(lists(), need, list(range(QUERIES)))))
