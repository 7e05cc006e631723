from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import entropy, mannwhitneyu, spearmanr

from gradret.stats.signal import Scored, signal


def scored(scores, ranks=None, source=None):
    return Scored(np.array(scores, float), ranks or list(range(1, len(scores) + 1)), source)


@pytest.fixture
def drawn():
    draw = np.random.default_rng(0)
    sizes = draw.integers(2, 9, 30)
    return [scored(draw.integers(0, 4, n) / 3, draw.permutation(n).tolist(), int(draw.integers(n))) for n in sizes]


def test_spread_entropy_and_correlation_as_scipy_and_numpy_have_them(drawn):
    found = signal(drawn, 1 / 3, 0)
    assert found.queries == 30
    assert found.spread == pytest.approx(np.mean([query.scores.std() for query in drawn]))
    grades = np.round(np.concatenate([query.scores for query in drawn]) * 3).astype(int)
    assert found.grades == {str(grade): int((grades == grade).sum()) for grade in range(4)}
    assert found.entropy == pytest.approx(entropy(np.bincount(grades), base=2))
    apart = [query for query in drawn if np.ptp(query.scores)]
    assert 0 < found.told_apart == len(apart) < 30
    want = [spearmanr(query.scores, -np.array(query.ranks)).statistic for query in apart]
    assert found.rank_correlation == pytest.approx(np.mean(want))


def test_source_documents_win_as_often_as_mann_and_whitney_count(drawn):
    found = signal(drawn, 1 / 3, 0)
    want = []
    for query in drawn:
        others = np.delete(query.scores, query.source)
        want.append(mannwhitneyu([query.scores[query.source]], others).statistic / len(others))
    assert found.sources == 30
    assert found.source_wins.value == pytest.approx(np.mean(want))
    assert found.source_wins.low < 0.5 < found.source_wins.high


@pytest.mark.parametrize(
    ("scores", "step", "apart"),
    [
        ([0.561, 0.642], 1 / 3, 0),
        ([0.5, 0.68], 1 / 3, 1),
        ([0.561, 0.642], 0.0, 1),
        ([0.6, 0.6], 0.0, 0),
        ([1.0, 0.0], 1.0, 1),
    ],
)
def test_documents_half_a_grade_apart_are_told_apart(scores, step, apart):
    assert signal([scored(scores)], step, 0).told_apart == apart


def test_a_single_document_says_nothing():
    found = signal([scored([1.0], source=0)], 1.0, 0)
    assert asdict(found) == {
        "queries": 0,
        "told_apart": 0,
        "spread": 0.0,
        "grades": {},
        "entropy": None,
        "rank_correlation": None,
        "sources": 0,
        "source_wins": None,
    }


def test_one_grade_for_all_has_no_entropy():
    assert signal([scored([2 / 3, 2 / 3, 0.6])], 1 / 3, 0).entropy == 0
