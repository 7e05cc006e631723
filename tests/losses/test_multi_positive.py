"""The four multi-positive losses against loops over probabilities, torch, sentence-transformers and numbers."""

import dataclasses
import math

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import CoSENTLoss
from torch.nn import functional

from gradret.losses import Lists
from gradret.losses.infonce import InfoNCE
from gradret.losses.joint_lh import JointLH
from gradret.losses.lse_pair import LSEPair
from gradret.losses.rand1_lh import Rand1LH
from gradret.losses.sum_marg_lh import SumMargLH

from .cases import lists, solved

ALL = [JointLH, SumMargLH, LSEPair, Rand1LH]
COMPETING = [SumMargLH, LSEPair]


def batch(seed: int = 0) -> Lists:
    """The common batch, with two, one, no, one and three positives."""
    given = lists(seed)
    given.positives_QG[4, :3] = True
    return given


def one_list(scores, positives: int, masked: int = 0, dtype: torch.dtype = torch.float64) -> Lists:
    """One query that lists its positives first, then all else but the last ``masked`` columns."""
    docs = len(scores)
    columns_N = torch.arange(docs)
    present_1G = (columns_N < docs - masked)[None]
    return Lists(
        scores_QN=torch.tensor([scores], dtype=dtype),
        columns_QG=columns_N[None] * present_1G,
        present_QG=present_1G,
        grades_QG=torch.full((1, docs), torch.nan, dtype=dtype),
        teacher_QG=torch.full((1, docs), torch.nan, dtype=dtype),
        positives_QG=(columns_N < positives)[None],
        masked_QN=~present_1G,
        firsts_N=columns_N == 0,
        draws_Q=torch.tensor([0]),
    )


def sides(given):
    """Scores by column of each query's positives, in stored order, and of its negatives."""
    for q in range(len(given.scores_QN)):
        places = (given.positives_QG[q] & given.present_QG[q]).nonzero()[:, 0].tolist()
        own = [int(given.columns_QG[q, g]) for g in places]
        others = [c for c in range(given.scores_QN.shape[1]) if c not in own and not given.masked_QN[q, c]]
        row = given.scores_QN[q].tolist()
        yield {c: row[c] for c in own}, {c: row[c] for c in others}


def probabilities(scores):
    whole = sum(math.exp(score) for score in scores.values())
    return {column: math.exp(score) / whole for column, score in scores.items()}


def joint(own, others):
    p, m = probabilities(own | others), len(own)
    return -math.log(math.prod(p[c] for c in own)), {c: m * p[c] - (c in own) for c in p}


def marginal(own, others):
    p, within = probabilities(own | others), probabilities(own)
    return -math.log(sum(p[c] for c in own)), {c: p[c] - within.get(c, 0) for c in p}


def pairwise(own, others):
    loss = math.log(1 + sum(math.exp(n - p) for n in others.values() for p in own.values()))
    weak, hard, size = probabilities({c: -s for c, s in own.items()}), probabilities(others), 1 - math.exp(-loss)
    return loss, {c: -size * weak[c] for c in weak} | {c: size * hard[c] for c in hard}


def drawn(own, others, draw):
    column = list(own)[draw % len(own)]
    p = probabilities({column: own[column]} | others)
    return -math.log(p[column]), {c: p[c] - (c == column) for c in p}


def looped(given, formula, temperature):
    """Mean loss and its gradient; ``formula`` gets scaled scores of positives and negatives, and q."""
    total, gradient, queries = 0.0, torch.zeros_like(given.scores_QN), 0
    for q, (own, others) in enumerate(sides(given)):
        if own:
            scaled = ({c: s / temperature for c, s in side.items()} for side in (own, others))
            loss, slopes = formula(*scaled, q)
            total, queries = total + loss, queries + 1
            for column, slope in slopes.items():
                gradient[q, column] = slope / temperature
    return total / queries, gradient / queries


def divided(formula):
    def divide(own, others, q):
        loss, slopes = formula(own, others, q)
        return loss / len(own), {c: slope / len(own) for c, slope in slopes.items()}

    return divide


def agree(loss, given, want, gradient):
    value, got = solved(loss, given)
    assert value == pytest.approx(want, rel=1e-11)
    torch.testing.assert_close(got, torch.as_tensor(gradient, dtype=torch.float64), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [1.0, 0.05])
@pytest.mark.parametrize("divide", [False, True])
@pytest.mark.parametrize(("component", "formula"), [(JointLH, joint), (LSEPair, pairwise)])
def test_joint_and_pairs_equal_a_loop(component, formula, divide, temperature, seed):
    def plain(own, others, _):
        return formula(own, others)

    given = batch(seed)
    loss = component(temperature=temperature, divide_by_positives=divide).load()
    agree(loss, given, *looped(given, divided(plain) if divide else plain, temperature))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_sum_marg_and_rand1_equal_a_loop(temperature, seed):
    given = batch(seed)
    want = looped(given, lambda own, others, _: marginal(own, others), temperature)
    agree(SumMargLH(temperature=temperature).load(), given, *want)
    want = looped(given, lambda own, others, q: drawn(own, others, int(given.draws_Q[q])), temperature)
    agree(Rand1LH(temperature=temperature).load(), given, *want)


@pytest.mark.parametrize("positives", ["all", "min", "max"])
@pytest.mark.parametrize("negatives", ["all", "max"])
@pytest.mark.parametrize("divide", [False, True])
def test_pairs_of_the_weakest_strongest_and_hardest_equal_a_loop(positives, negatives, divide):
    def variant(own, others, _):
        m = len(own)
        if positives != "all":
            best = (min if positives == "min" else max)(own, key=own.get)
            own = {best: own[best]}
        if negatives == "max":
            hardest = max(others, key=others.get)
            others = {hardest: others[hardest]}
        loss, slopes = pairwise(own, others)
        by = m if divide else 1
        return loss / by, {c: slope / by for c, slope in slopes.items()}

    given = batch()
    loss = LSEPair(temperature=0.5, positives=positives, negatives=negatives, divide_by_positives=divide).load()
    agree(loss, given, *looped(given, variant, 0.5))


@pytest.mark.parametrize(
    ("loss", "value", "gradient"),
    [
        (JointLH(), 3 * math.log(2), (0, -1 / 2, 1 / 2)),
        (SumMargLH(), math.log(4 / 3), (-1 / 6, -1 / 12, 1 / 4)),
        (LSEPair(), math.log(5 / 2), (-1 / 5, -2 / 5, 3 / 5)),
    ],
)
def test_two_positives_and_a_negative_by_hand(loss, value, gradient):
    agree(loss.load(), one_list([math.log(2), 0, 0], positives=2), value, [gradient])


def test_the_mean_of_rand1_by_hand():
    given = one_list([math.log(2), 0, 0], positives=2)
    draws = [solved(Rand1LH().load(), dataclasses.replace(given, draws_Q=torch.tensor([draw]))) for draw in (7, 8)]
    assert sum(value for value, _ in draws) / 2 == pytest.approx((math.log(3 / 2) + math.log(2)) / 2, rel=1e-12)
    want = torch.tensor([[-1 / 6, -1 / 4, 5 / 12]], dtype=torch.float64)
    torch.testing.assert_close(sum(gradient for _, gradient in draws) / 2, want)


def test_rand1_takes_the_positives_in_turn():
    given = one_list([0.3, -0.2, 0.1, 0.5, 0.0], positives=3)
    pulled = []
    for draw in range(5, 11):
        _, gradient = solved(Rand1LH().load(), dataclasses.replace(given, draws_Q=torch.tensor([draw])))
        pulled.append((gradient[0] < 0).nonzero()[:, 0].tolist())
        assert (gradient[0, :3] != 0).sum() == 1
    assert pulled == [[2], [0], [1], [2], [0], [1]]


def test_rand1_that_draws_the_first_is_infonce():
    given = dataclasses.replace(batch(), draws_Q=torch.full((5,), 6))
    agree(Rand1LH().load(), given, *solved(InfoNCE(temperature=1.0, hard_negatives=True).load(), given))


@pytest.mark.parametrize(
    "loss", [*(loss() for loss in ALL), JointLH(divide_by_positives=True), LSEPair(divide_by_positives=True)]
)
def test_with_one_positive_all_are_torchs_cross_entropy(loss):
    given = lists()
    given.positives_QG[:, 0], given.positives_QG[:, 1:] = True, False
    given.masked_QN[:] = False
    scores = given.scores_QN.clone().requires_grad_()
    want = functional.cross_entropy(scores, given.columns_QG[:, 0])
    agree(loss.load(), given, want.item(), torch.autograd.grad(want, scores)[0])


def test_divided_joint_is_torchs_cross_entropy_with_equal_shares():
    given = batch()
    given.masked_QN[:] = False
    shares = torch.zeros_like(given.scores_QN)
    for q, (own, _) in enumerate(sides(given)):
        shares[q, list(own)] = 1 / max(len(own), 1)
    kept = shares.any(dim=1)
    scores = given.scores_QN.clone().requires_grad_()
    want = functional.cross_entropy(scores[kept] / 0.1, shares[kept])
    loss = JointLH(temperature=0.1, divide_by_positives=True).load()
    agree(loss, given, want.item(), torch.autograd.grad(want, scores)[0])


@pytest.mark.parametrize("positives", [1, 2, 3])
def test_pairs_of_one_query_are_sentence_transformers_cosent(positives):
    torch.manual_seed(positives)
    given = one_list(torch.rand(7).tolist(), positives)
    theirs = CoSENTLoss(None, scale=20.0, similarity_fct=lambda scores, _: scores)
    scores = given.scores_QN[0].clone().requires_grad_()
    want = theirs.compute_loss_from_embeddings([scores, scores], given.positives_QG[0].double())
    loss = LSEPair(temperature=1 / 20).load()
    agree(loss, given, want.item(), torch.autograd.grad(want, scores)[0][None])


@pytest.mark.parametrize("component", ALL)
def test_other_queries_documents_are_negatives_and_masked_ones_are_not(component):
    """Column 3 is in no list, the last column is masked."""
    given = one_list([0.5, 0.4, 0.3, 0.2, 0.1], positives=2, masked=1)
    given.present_QG[0, 3] = False
    _, gradient = solved(component().load(), given)
    assert (gradient[0, 2:4] > 0).all()
    assert gradient[0, 4] == 0


@pytest.mark.parametrize("component", ALL)
def test_a_place_without_a_document_is_no_positive(component):
    given = batch()
    marked = dataclasses.replace(given, positives_QG=given.positives_QG | ~given.present_QG)
    assert marked.positives_QG.sum() == given.positives_QG.sum() + 1
    agree(component().load(), marked, *solved(component().load(), given))


@pytest.mark.parametrize("component", ALL)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_one_positive_without_negatives_costs_nothing(component, size):
    value, gradient = solved(component().load(), one_list([size, -size, 0.0], positives=1, masked=2))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_positives_without_negatives_compete_in_joint_alone(dtype, size):
    given = one_list([size, -size, 0.0], positives=2, masked=1, dtype=dtype)
    every = [LSEPair(positives=p, negatives=n) for p in ("all", "min", "max") for n in ("all", "max")]
    for loss in (SumMargLH(), Rand1LH(), *every):
        value, gradient = solved(loss.load(), given)
        assert value == 0
        assert not gradient.any()
    value, gradient = solved(JointLH().load(), given)
    assert value == pytest.approx(2 * size + 2 * math.log1p(math.exp(-2 * size)), rel=1e-6)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("positives", ["all", "min", "max"])
@pytest.mark.parametrize("negatives", ["all", "max"])
def test_pairs_stay_finite_at_extreme_scores(positives, negatives):
    given = batch()
    scores = torch.where(given.scores_QN < 0, -1e4, 1e4).float()
    loss = LSEPair(positives=positives, negatives=negatives).load()
    value, gradient = solved(loss, dataclasses.replace(given, scores_QN=scores))
    assert math.isfinite(value)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("component", COMPETING)
def test_a_small_loss_keeps_its_digits_in_float32(component):
    value, _ = solved(component().load(), one_list([30.0, 0.0], positives=1, dtype=torch.float32))
    assert value == pytest.approx(math.log1p(math.exp(-30)), rel=1e-5)


@pytest.mark.parametrize("component", ALL)
@pytest.mark.parametrize("masked", [0, 3])
def test_a_query_without_positives_adds_nothing(component, masked):
    given = one_list([0.5, 0.4, 0.3], positives=0, masked=masked)
    given.scores_QN.requires_grad_()
    total, count = component().load()(given)
    (gradient,) = torch.autograd.grad(total, given.scores_QN)
    assert total == count == 0
    assert not gradient.any()


@pytest.mark.parametrize("component", ALL)
@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_refuses_a_temperature_that_turns_the_objective_around(component, temperature):
    with pytest.raises(ValueError, match=r"temperature: must be above 0"):
        component(temperature=temperature)
