import numpy as np
import pytest

from gradret.search.topk import contenders, ordered


def by_hand(scores, doc_ids, k):
    """The whole list sorted by float32 score descending, then doc_id descending."""
    best = sorted(range(len(doc_ids)), key=lambda place: doc_ids[place], reverse=True)
    return sorted(best, key=lambda place: -float(scores[place]))[:k]


@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
@pytest.mark.parametrize("size", [1, 2, 17, 400])
def test_equals_a_full_sort_however_many_ties(levels, size):
    draw = np.random.default_rng(levels * size)
    doc_ids = [f"d{number}" for number in draw.permutation(size)]
    scores = (draw.integers(0, levels, size) / 7 - 2).astype(np.float32)
    for k in (1, 2, size // 2 + 1, size, size + 5):
        assert ordered(scores, doc_ids, k) == by_hand(scores, doc_ids, k)


def test_ids_compare_as_text_and_zeros_of_both_signs_tie():
    scores = np.array([0.0, -0.0, 0.0, -0.0], np.float32)
    doc_ids = ["2", "10", "é", "z"]
    assert [doc_ids[place] for place in ordered(scores, doc_ids, 3)] == ["é", "z", "2"]


def test_infinite_scores_have_a_place():
    scores = np.array([0, np.inf, -np.inf, 1], np.float32)
    assert ordered(scores, list("abcd"), 4) == [1, 3, 0, 2]


def test_nothing_in_nothing_out():
    assert ordered(np.zeros(0, np.float32), [], 5) == []


def test_contenders_are_all_that_may_be_among_the_best():
    scores = np.array([0.5, 0.0, 2.0, 0.5, -1.0], np.float32)
    assert contenders(scores, 1).tolist() == [2]
    assert contenders(scores, 2).tolist() == [0, 2, 3]
    assert contenders(scores, 4).tolist() == [0, 1, 2, 3]
    assert contenders(scores, 9).tolist() == [0, 1, 2, 3, 4]
