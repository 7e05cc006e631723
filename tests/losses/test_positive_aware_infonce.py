"""Positive-aware InfoNCE against loops over floats and sets of document ids."""

import dataclasses
import math

import pytest
import torch

from gradret.losses import Lists
from gradret.losses.infonce import InfoNCE
from gradret.losses.positive_aware_infonce import PositiveAwareInfoNCE

from .cases import lists, solved


def batch(ids, seed):
    """Lists of these document ids, the positive first in each; a document is known to be relevant only there."""
    draw = torch.Generator().manual_seed(seed)
    docs, queries = sorted({doc for row in ids for doc in row}), len(ids)
    columns_QG = torch.tensor([[docs.index(doc) for doc in row] for row in ids])
    grades_QG = torch.rand(columns_QG.shape, generator=draw, dtype=torch.float64)
    grades_QG[:, 0] = 0.5 + grades_QG[:, 0] / 2
    positives_QG = torch.zeros(columns_QG.shape, dtype=torch.bool)
    positives_QG[:, 0] = True
    return Lists(
        scores_QN=2 * torch.rand(queries, len(docs), generator=draw, dtype=torch.float64) - 1,
        columns_QG=columns_QG,
        present_QG=torch.ones(columns_QG.shape, dtype=torch.bool),
        grades_QG=grades_QG,
        teacher_QG=grades_QG,
        positives_QG=positives_QG,
        masked_QN=torch.zeros(queries, len(docs), dtype=torch.bool),
        firsts_N=torch.zeros(len(docs), dtype=torch.bool),
        draws_Q=torch.zeros(queries, dtype=torch.int64),
    )


def paper(given, temperature, threshold, *, once):
    """Loss and gradient with the paper's two masks; ``once``: a document that repeats is one candidate."""
    ids, grades, n = given.columns_QG.tolist(), given.grades_QG.tolist(), len(given.columns_QG)
    total, gradient = 0.0, torch.zeros_like(given.scores_QN)
    for i in range(n):
        own = ids[i][0]
        excluded = {own} | {
            doc for doc, grade in zip(ids[i][1:], grades[i][1:], strict=True) if grade > threshold * grades[i][0]
        }
        candidates = [own]
        candidates += [ids[j][0] for j in range(n) if j != i and ids[j][0] not in excluded]
        candidates += [doc for j in range(n) for doc in ids[j][1:] if doc not in excluded]
        if once:
            candidates = sorted(set(candidates))
        weights = [math.exp(float(given.scores_QN[i, doc]) / temperature) for doc in candidates]
        total -= math.log(math.exp(float(given.scores_QN[i, own]) / temperature) / sum(weights)) / n
        gradient[i, own] -= 1 / temperature / n
        for doc, weight in zip(candidates, weights, strict=True):
            gradient[i, doc] += weight / sum(weights) / temperature / n
    return total, gradient


def agree(given, want, **settings):
    value, gradient = solved(PositiveAwareInfoNCE(**settings).load(), given)
    assert value == pytest.approx(want[0], rel=1e-12)
    torch.testing.assert_close(gradient, want[1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("threshold", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_paper_where_lists_share_no_document(seed, threshold):
    given = batch(torch.randperm(20, generator=torch.Generator().manual_seed(seed)).reshape(5, 4).tolist(), seed)
    want = paper(given, 0.01, threshold, once=False)
    assert want[0] == pytest.approx(paper(given, 0.01, threshold, once=True)[0])
    agree(given, want, threshold=threshold)


@pytest.mark.parametrize("threshold", [0.6, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_paper_with_shared_documents_counted_once(seed, threshold):
    draw = torch.Generator().manual_seed(seed)
    given = batch([torch.randperm(9, generator=draw)[:4].tolist() for _ in range(5)], seed)
    # At 0.01 one candidate is nearly the whole sum, and how often it counts would hardly show.
    want = paper(given, 0.5, threshold, once=True)
    assert want[0] != pytest.approx(paper(given, 0.5, threshold, once=False)[0], rel=1e-3)
    agree(given, want, temperature=0.5, threshold=threshold)


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop(seed):
    """Short lists, further positives, ungraded and masked documents."""
    given, t, threshold = lists(seed), 0.05, 0.6
    total, gradient = 0.0, torch.zeros_like(given.scores_QN)
    for q in (0, 1, 3, 4):
        listed = [g for g in range(4) if given.present_QG[q, g]]
        first, enough = int(given.columns_QG[q, 0]), threshold * float(given.grades_QG[q, 0])
        out = set(given.masked_QN[q].nonzero()[:, 0].tolist())
        out |= {int(given.columns_QG[q, g]) for g in listed[1:] if given.positives_QG[q, g]}
        out |= {int(given.columns_QG[q, g]) for g in listed[1:] if float(given.grades_QG[q, g]) > enough}
        weights = {c: math.exp(float(given.scores_QN[q, c]) / t) for c in range(12) if c not in out}
        whole = sum(weights.values())
        total -= math.log(weights[first] / whole) / 4
        for column, weight in weights.items():
            gradient[q, column] += (weight / whole - (column == first)) / t / 4
    agree(given, (total, gradient), temperature=t, threshold=threshold)


def test_a_grade_at_the_threshold_is_a_negative_and_one_above_is_not():
    given = batch([[0, 1, 2], [3, 4, 5]], seed=0)
    given.grades_QG[0] = torch.tensor([1.0, 0.5, 0.500001])
    _, gradient = solved(PositiveAwareInfoNCE(temperature=1.0, threshold=0.5).load(), given)
    assert gradient[0, 1] > 0
    assert gradient[0, 2] == 0


def test_grades_exclude_nothing_where_the_positive_has_none():
    given = dataclasses.replace(lists(), grades_QG=lists().grades_QG.clone())
    given.grades_QG[:, 0] = torch.nan
    want = solved(InfoNCE(temperature=0.05, hard_negatives=True).load(), given)
    agree(given, want, temperature=0.05)


def test_a_batch_without_positives_is_zero():
    given = dataclasses.replace(lists(), positives_QG=torch.zeros(5, 4, dtype=torch.bool))
    value, gradient = solved(PositiveAwareInfoNCE().load(), given)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.0), ("threshold", -0.1)])
def test_refuses_settings_that_mean_nothing(name, value):
    with pytest.raises(ValueError, match=f"{name}: must"):
        PositiveAwareInfoNCE(**{name: value})
