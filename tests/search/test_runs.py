"""RUN tables: written in a fixed order, and read for a few queries only."""

import numpy as np
import pytest

from gradret.errors import StorageError
from gradret.search.runs import RunReader, run_table
from gradret.store import contracts
from tests.stages import tiny


def rows(query_ids, k=3):
    """Each query's documents are named by it, best first."""
    found = [([f"{q}-{n}" for n in range(k)], np.arange(k, 0, -1, dtype=np.float32)) for q in query_ids]
    return run_table(query_ids, found, k).to_pylist()


def test_rows_in_order_with_ranks_from_one():
    found = [(["a", "c", "b"], np.array([1, 2, 2], np.float32)), ([], np.zeros(0, np.float32)), (["x"], np.ones(1))]
    table = contracts.check(run_table(["q2", "q1", "q3"], found, 2), "run", "here")
    assert table.to_pylist() == [
        {"query_id": "q2", "doc_id": "c", "score": 2.0, "rank": 1},
        {"query_id": "q2", "doc_id": "b", "score": 2.0, "rank": 2},
        {"query_id": "q3", "doc_id": "x", "score": 1.0, "rank": 1},
    ]


def test_scores_of_any_sign_and_size_in_order():
    draw = np.random.default_rng(0)
    some = np.array([0.0, -0.0, 1e-40, -1e-40, -2.5, 3e38, -3e38, 7.25], np.float32)
    found = [([f"d{n}" for n in draw.permutation(40)], draw.choice(some, 40)) for _ in range(5)]
    table = run_table(list("abcde"), found, 40).to_pylist()
    for query_id, (doc_ids, scores) in zip("abcde", found, strict=True):
        best = sorted(zip(scores.tolist(), doc_ids, strict=True), reverse=True)
        assert [row["doc_id"] for row in table if row["query_id"] == query_id] == [doc_id for _, doc_id in best]


def test_no_queries():
    assert contracts.check(run_table([], [], 5), "run", "here").num_rows == 0


@pytest.fixture
def run(tmp_path):
    return tiny.artifact(tmp_path, "search", {"run": [rows(["a", "b"]), [], rows(["c", "d", "e"]), rows(["é", "中"])]})


def test_ranked_in_the_order_asked_and_nothing_for_who_is_not_there(run):
    reader = RunReader(run)
    want = {q: [(f"{q}-0", 1), (f"{q}-1", 2), (f"{q}-2", 3)] for q in ("a", "b", "c", "d", "e", "é", "中")}
    for asked in (["中", "a", "d"], ["b"], ["e", "é"], list(want)):
        assert reader.ranked(asked) == [want[q] for q in asked]
    assert reader.ranked(["zzz", "bb", "c", ""]) == [[], [], want["c"], []]
    assert reader.ranked([]) == []


def test_a_query_over_two_shards(tmp_path):
    parts = rows(["a", "b"], 4)
    run = tiny.artifact(tmp_path, "search", {"run": [parts[:6], parts[6:]]})
    assert RunReader(run).ranked(["b"]) == [[("b-0", 1), ("b-1", 2), ("b-2", 3), ("b-3", 4)]]


def test_shards_that_cannot_hold_a_query_are_not_read(run):
    reader = RunReader(run)
    third = run.shards("run")[2]
    third.write_bytes(b"no Parquet")
    assert len(reader.ranked(["a", "b"])[1]) == 3
    with pytest.raises(StorageError, match="part-00002"):
        reader.ranked(["d"])
