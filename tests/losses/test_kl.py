"""KL against sentence-transformers' and against loops over floats; its calibration against closed forms."""

import dataclasses
import math

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss

from gradret.config.loading import load, to_yaml
from gradret.errors import ConfigError, DataError
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
        teacher_QG=torch.full((6, 5), torch.nan, dtype=torch.float64),
        positives_QG=torch.zeros(6, 5, dtype=torch.bool),
        masked_QN=torch.zeros(6, 30, dtype=torch.bool),
        firsts_N=torch.zeros(30, dtype=torch.bool),
        draws_Q=torch.zeros(6, dtype=torch.int64),
    )
    total, count = KL(student_temperature=student, teacher_temperature=teacher).load()(given)
    got = total / count
    assert got.item() == pytest.approx(want.item(), rel=1e-12)
    for ours, other in zip(torch.autograd.grad(got, mine), torch.autograd.grad(want, embeddings), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-10, atol=1e-12)


def compared(given, q, columns):
    """``{column: grade}`` of the documents that query q's distributions are over."""
    own = {int(given.columns_QG[q, g]): float(given.grades_QG[q, g]) for g in range(4) if given.present_QG[q, g]}
    kept = {column: grade for column, grade in own.items() if not math.isnan(grade)}
    if columns == "batch" and kept:
        kept |= {column: 0.0 for column in range(12) if column not in own and not given.masked_QN[q, column]}
    return kept


def softmax(logits):
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("columns", ["list", "batch"])
@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop(seed, columns):
    given = lists(seed)
    given.grades_QG[4] = torch.nan
    t, s = 0.3, 0.05
    total, gradient = 0.0, torch.zeros_like(given.scores_QN)
    for q in range(4):
        kept = compared(given, q, columns)
        teacher = softmax([grade / t for grade in kept.values()])
        student = softmax([float(given.scores_QN[q, column]) / s for column in kept])
        total += sum(p * math.log(p / r) for p, r in zip(teacher, student, strict=True))
        for column, p, r in zip(kept, teacher, student, strict=True):
            gradient[q, column] += (r - p) / s / 4
    value, got = solved(KL(student_temperature=s, teacher_temperature=t, columns=columns).load(), given)
    assert value == pytest.approx(total / 4, rel=1e-12)
    torch.testing.assert_close(got, gradient, rtol=1e-10, atol=1e-12)


def test_over_the_batch_is_what_sycl_compares_with():
    """Integer grades in their own blocks of a matrix of zeros, softmax at temperature 1."""
    torch.manual_seed(0)
    integers = torch.randint(4, (5, 3))
    labels, scores = torch.block_diag(*integers[:, None]).double(), torch.randn(5, 15, dtype=torch.float64)
    want = torch.nn.functional.kl_div(scores.log_softmax(1), labels.softmax(1), reduction="batchmean")
    given = Lists(
        scores_QN=scores,
        columns_QG=torch.arange(15).reshape(5, 3),
        present_QG=torch.ones(5, 3, dtype=torch.bool),
        grades_QG=integers.double() / 3,
        teacher_QG=torch.full((5, 3), torch.nan, dtype=torch.float64),
        positives_QG=torch.zeros(5, 3, dtype=torch.bool),
        masked_QN=torch.zeros(5, 15, dtype=torch.bool),
        firsts_N=torch.zeros(15, dtype=torch.bool),
        draws_Q=torch.zeros(5, dtype=torch.int64),
    )
    value, _ = solved(KL(student_temperature=1, teacher_temperature=1 / 3, columns="batch").load(), given)
    assert value == pytest.approx(want.item(), rel=1e-12)


@pytest.mark.parametrize("columns", ["list", "batch"])
@pytest.mark.parametrize("ratio", [0.01, 0.4, 7.0])
def test_calibration_finds_the_temperature_at_which_nothing_is_left(columns, ratio):
    """Scores that are the grades times a number: the temperatures have the same ratio."""
    given = lists()
    loss = KL(student_temperature="calibrated", teacher_temperature=0.3, columns=columns)
    grades_QN = torch.zeros_like(given.scores_QN)
    for q in range(5):
        for column, grade in compared(given, q, "list").items():
            grades_QN[q, column] = grade
    given.scores_QN = ratio * grades_QN
    found = loss.calibrated([given, given])
    assert found == dataclasses.replace(loss, student_temperature=found.student_temperature)
    assert found.student_temperature == pytest.approx(0.3 * ratio, rel=1e-4)
    assert solved(found.load(), given)[0] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("columns", ["list", "batch"])
def test_calibration_is_best_over_all_queries(columns):
    """There the student's mean score equals the teacher's: the derivative with respect to 1 / temperature is 0."""
    loss = KL(student_temperature="calibrated", columns=columns)
    batches = [lists(seed) for seed in range(3)]
    batches[0].grades_QG[1:] = torch.nan
    for given in batches:
        for q in range(5):
            for column, grade in compared(given, q, "list").items():
                given.scores_QN[q, column] = 0.5 * given.scores_QN[q, column] + grade
    temperature = loss.calibrated(iter(batches)).student_temperature
    excess = size = 0.0
    for given in batches:
        for q in range(5):
            kept = compared(given, q, columns)
            if kept:
                scores = [float(given.scores_QN[q, column]) for column in kept]
                teacher = softmax([grade / loss.teacher_temperature for grade in kept.values()])
                student = softmax([score / temperature for score in scores])
                excess += sum((r - p) * score for p, r, score in zip(teacher, student, scores, strict=True))
                size += 1
    assert 0.01 < temperature < 5
    assert excess / size == pytest.approx(0, abs=1e-5)


def test_scores_that_contradict_the_grades_get_the_highest_temperature():
    given = lists()
    given.scores_QN = torch.zeros_like(given.scores_QN).scatter(1, given.columns_QG, -given.grades_QG.nan_to_num())
    found = KL(student_temperature="calibrated").calibrated([given])
    assert found.student_temperature == pytest.approx(10, rel=1e-3)


def test_calibration_says_that_there_is_nothing_to_calibrate_to():
    given = dataclasses.replace(lists(), grades_QG=torch.full((5, 4), torch.nan).double())
    with pytest.raises(DataError, match="cannot calibrate: no graded query in 2 batches"):
        KL(student_temperature="calibrated").calibrated([given, given])


def test_an_uncalibrated_one_is_no_module():
    with pytest.raises(ConfigError, match="must be a number, got 'calibrated'; call calibrated"):
        KL(student_temperature="calibrated").load()


@pytest.mark.parametrize("temperature", ["calibrated", 0.05, 1])
def test_the_config_holds_a_word_or_a_number(tmp_path, temperature):
    path = tmp_path / "config.yaml"
    path.write_text("name: toy\ndataset: {name: pydocs}\n", encoding="utf-8")
    config = load(path, [f"train.loss=[{{name: kl, student_temperature: {temperature}}}]"])
    assert config.train.loss == (KL(student_temperature=temperature),)
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load(path) == config


@pytest.mark.parametrize("temperature", ["warm", "-1.0"])
def test_the_config_refuses_other_words_and_numbers(tmp_path, temperature):
    path = tmp_path / "config.yaml"
    path.write_text("name: toy\ndataset: {name: pydocs}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.loss\[0\]\.student_temperature"):
        load(path, [f"train.loss=[{{name: kl, student_temperature: {temperature}}}]"])


@pytest.mark.parametrize(
    "settings", [{"student_temperature": 0.0}, {"student_temperature": "warm"}, {"teacher_temperature": -1.0}]
)
def test_refuses_temperatures_that_are_none(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"^{name} must be above 0"):
        KL(**settings)
