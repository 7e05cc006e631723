"""Random documents."""

from collections import Counter

import pytest

from gradret.retrievers.random import Random
from tests.stages import tiny

QUERIES = [{"query_id": f"q{n}"} for n in range(400)]


def drawn(tmp_path, docs, k, queries=QUERIES, seed=0):
    rows = [tiny.doc(n, "x") for n in docs]
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [rows[:7], rows[7:]]})
    retriever = Random(k)
    return retriever.load(retriever.prepare(None, ingested, None), seed)(queries)


def test_every_document_as_often_as_another(tmp_path):
    found = drawn(tmp_path, range(20), 4)
    assert all([rank for _, rank in one] == [1, 2, 3, 4] and len(dict(one)) == 4 for one in found)
    counts = Counter(doc_id for one in found for doc_id, _ in one)
    # 400 draws of 4 from 20: each document 80 times, with a standard deviation of 8.
    assert len(counts) == 20
    assert all(abs(count - 80) < 40 for count in counts.values())


def test_the_draw_follows_from_seed_and_query_and_not_from_the_order_of_anything(tmp_path):
    found = drawn(tmp_path, range(20), 4)
    assert drawn(tmp_path, reversed(range(20)), 4, QUERIES[::-1]) == found[::-1]
    assert drawn(tmp_path, range(20), 4, seed=1) != found


def test_a_small_corpus_and_none(tmp_path):
    assert [len(one) for one in drawn(tmp_path, range(3), 4, QUERIES[:2])] == [3, 3]
    assert drawn(tmp_path, range(3), 0, QUERIES[:1]) == [[]]
    with pytest.raises(ValueError, match=r"k: must be at least 0"):
        Random(-1)
