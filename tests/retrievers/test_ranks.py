"""Ranges of ranks, which keep the ranks of the inner retriever."""

from collections import Counter

import pytest

from gradret.retrievers.bm25 import Bm25
from gradret.retrievers.ranks import Ranks
from gradret.retrievers.rrf import Rrf
from tests.stages.outside import Listed

DOCS = [f"d{n:02d}" for n in range(1, 31)]
QUERIES = [{"query_id": f"q{n}"} for n in range(300)]
FOUND = Listed(";".join(f"{query['query_id']}:{','.join(DOCS)}" for query in QUERIES))


def found(retriever, queries=QUERIES, seed=0):
    return retriever.load(retriever.prepare(None, None, None), seed)(queries)


def test_a_range():
    want = [("d05", 5), ("d06", 6), ("d07", 7)]
    assert found(Ranks(FOUND, first=5, last=7), QUERIES[:2]) == [want, want]


def test_a_range_beyond_what_is_found():
    assert found(Ranks(FOUND, first=29, last=99), QUERIES[:1]) == [[("d29", 29), ("d30", 30)]]
    assert found(Ranks(FOUND, first=31, last=99, sample=4), QUERIES[:1]) == [[]]


def test_a_sample_is_even_and_has_true_ranks():
    drawn = found(Ranks(FOUND, first=3, last=22, sample=5))
    assert all(len(set(one)) == 5 and one == sorted(one) for one in drawn)
    assert all(doc_id == f"d{rank:02d}" and 3 <= rank <= 22 for one in drawn for doc_id, rank in one)
    # 300 draws of 5 from 20: each rank 75 times, with a standard deviation of 7.5.
    counts = Counter(rank for one in drawn for _, rank in one)
    assert set(counts) == set(range(3, 23))
    assert all(abs(count - 75) < 38 for count in counts.values())


def test_a_sample_follows_from_seed_and_query_alone():
    retriever = Ranks(FOUND, last=30, sample=3)
    drawn = found(retriever)
    assert found(retriever, QUERIES[::-1]) == drawn[::-1]
    assert [found(retriever, [query])[0] for query in QUERIES[:9]] == drawn[:9]
    assert found(retriever, seed=1) != drawn


def test_as_many_as_it_is_asked_for():
    assert (Ranks(FOUND, first=11, last=30).k, Ranks(FOUND, last=30, sample=2).k) == (20, 2)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"first": 0}, "first: must be at least 1"),
        ({"first": 9, "last": 8}, "^last must be at least first=9, got 8"),
        ({"last": 21}, r"^last must be at most 20, the number of documents that bm25 retrieves, got 21"),
        ({"last": 10, "sample": 11}, "^sample must be from 0 to 10"),
        ({"last": 10, "sample": -1}, "^sample must be from 0 to 10"),
    ],
)
def test_what_cannot_be(keys, message):
    with pytest.raises(ValueError, match=message):
        Ranks(Bm25(k=20), **keys)


def test_a_range_of_a_fusion_and_of_a_range():
    fusion = Rrf((FOUND,), k=10)
    assert found(Ranks(fusion, first=9, last=10), QUERIES[:1]) == [[("d09", 9), ("d10", 10)]]
    assert found(Ranks(Ranks(FOUND, first=4, last=9), first=8, last=9, sample=0), QUERIES[:1]) == [
        [("d08", 8), ("d09", 9)]
    ]
