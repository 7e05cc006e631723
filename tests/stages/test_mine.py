"""The documents to grade: the union of the retrievers, with each retriever's rank."""

import pytest

from gradret.config.run import Mine
from gradret.errors import DataError
from gradret.pairs import pair_id
from gradret.retrievers.random import Random
from gradret.retrievers.ranks import Ranks
from gradret.retrievers.source import Source
from gradret.stages import mine as module
from gradret.stages.mine import mine

from . import tiny
from .outside import Listed, Other

pytestmark = pytest.mark.usefixtures("ray_session")

LISTED, OTHER = "tests.stages.outside:Listed", "tests.stages.outside:Other"


def mined(settings, tmp_path, docs, queries, retrievers, seed=0, leaked=()):
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [docs]})
    generated = tiny.artifact(tmp_path, "generate", {"queries": [queries]})
    rows = [{"query_id": query_id, "test_query_id": test, "similarity": 0.9} for query_id, test in leaked]
    leaks = tiny.artifact(tmp_path, "leaks", {"leaks": [rows]})
    return mine(settings(mine=Mine(retrievers=tuple(retrievers)), seed=seed), ingested, generated, leaks)


def found(made):
    """What PAIRS holds: by query and document, ranks by origin."""
    return {
        (row["query_id"], row["doc_id"]): dict(zip(row["origins"], row["ranks"], strict=True))
        for row in made.table("pairs").to_pylist()
    }


def test_the_union_with_who_found_it_at_which_rank(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "QUERIES_A_SHARD", 1)
    docs = [tiny.doc(n, "text") for n in range(5)]
    queries = [
        tiny.query(0, "a", source="d002"),
        tiny.query(1, "b"),
        tiny.query(2, "c", source="d001"),
        tiny.query(3, "d"),
    ]
    first = Listed("q000:d004,d002,d000;q001:d003;q002:d001")
    made = mined(settings, tmp_path, docs, queries, [Source(), first, Other("q000:d000,d004;q001:d001,d003")])
    assert found(made) == {
        ("q000", "d000"): {LISTED: 3, OTHER: 1},
        ("q000", "d002"): {"source": 1, LISTED: 2},
        ("q000", "d004"): {LISTED: 1, OTHER: 2},
        ("q001", "d001"): {OTHER: 1},
        ("q001", "d003"): {LISTED: 1, OTHER: 2},
        ("q002", "d001"): {"source": 1, LISTED: 1},
    }
    assert made.table("pairs").num_rows == 6
    assert all(row["pair_id"] == pair_id(row["query_id"], row["doc_id"]) for row in made.table("pairs").to_pylist())
    assert made.counts == {"short_lists": 0, "rows_in": 4, "rows_out": 6, "quarantined": 1}
    (dropped,) = made.table("quarantine").to_pylist()
    assert (dropped["where"], dropped["reason"], dropped["raw"]) == ("q003", "no document found", "d")
    assert made.manifest["quarantined"] == {"no document found": 1}


def test_two_retrievers_of_one_name_and_true_ranks(settings, tmp_path):
    """A range is called by what it is a range of, and keeps its ranks."""
    docs = [tiny.doc(n, "text") for n in range(5)]
    far = Ranks(Listed("q000:d000,d001,d002,d003"), first=3, last=4)
    made = mined(settings, tmp_path, docs, [tiny.query(0, "a")], [Listed("q000:d003,d004"), far, Listed("q000:d004")])
    assert found(made) == {
        ("q000", "d002"): {f"{LISTED}.2": 3},
        ("q000", "d003"): {LISTED: 1, f"{LISTED}.2": 4},
        ("q000", "d004"): {LISTED: 2, f"{LISTED}.3": 1},
    }


def test_queries_that_are_like_a_test_query_are_put_aside(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "QUERIES_A_SHARD", 2)
    docs = [tiny.doc(n, "text") for n in range(5)]
    queries = [tiny.query(n, f"text {n}", source="d001") for n in range(5)]
    leaked = [("q001", "t1"), ("q001", "t2"), ("q004", "t1")]
    made = mined(settings, tmp_path, docs, queries, [Source(), Random(k=2)], leaked=leaked)
    clean = mined(settings, tmp_path, docs, queries, [Source(), Random(k=2)])
    assert {query_id for query_id, _ in found(made)} == {"q000", "q002", "q003"}
    assert {query_id for query_id, _ in found(clean)} == {f"q{n:03d}" for n in range(5)}
    assert found(made) == {pair: ranks for pair, ranks in found(clean).items() if pair[0] not in ("q001", "q004")}
    rows = made.table("quarantine").to_pylist()
    assert [(row["where"], row["reason"], row["raw"]) for row in rows] == [
        ("q001", "near-duplicate of a test query", "text 1"),
        ("q004", "near-duplicate of a test query", "text 4"),
    ]
    assert (made.counts["rows_in"], made.counts["quarantined"]) == (5, 2)


def test_when_every_query_is_like_a_test_query(settings, tmp_path):
    docs = [tiny.doc(n, "text") for n in range(5)]
    with pytest.raises(
        DataError, match=r"none of the 1 queries has a document .*\(.*near-duplicate of a test query': 1"
    ):
        mined(settings, tmp_path, docs, [tiny.query(0, "a", source="d000")], [Random()], leaked=[("q000", "t")])


def test_lists_that_are_shorter_than_asked_are_counted_by_query(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "QUERIES_A_SHARD", 1)
    docs = [tiny.doc(n, "text") for n in range(5)]
    queries = [tiny.query(n, "", source="d000") for n in range(4)]
    listed = Listed("q000:d000,d001,d002,d003;q001:d000,d001,d002;q002:d003;q003:d001,d002,d003,d004")
    retrievers = [Source(), Ranks(listed, first=1, last=3), Ranks(listed, first=3, last=4), Random(k=5)]
    made = mined(settings, tmp_path, docs, queries, retrievers)
    # q001 lacks its fourth, q002 two and more; a source is not asked for a number, and all five are found at random.
    assert made.counts["short_lists"] == 2
    assert mined(settings, tmp_path, docs, queries, [Source(), Random(k=6)]).counts["short_lists"] == 4


@pytest.mark.parametrize("size", [2, 3])
def test_a_tiny_corpus(settings, tmp_path, size):
    docs = [tiny.doc(n, "text") for n in range(size)]
    made = mined(settings, tmp_path, docs, [tiny.query(0, "a", source="d000")], [Source(), Random()])
    assert made.table("pairs")["doc_id"].to_pylist() == [row["doc_id"] for row in docs]


def test_a_corpus_of_one_document_makes_lists_of_one(settings, tmp_path):
    """Which losses can do with them, train decides."""
    made = mined(settings, tmp_path, [tiny.doc(0, "text")], [tiny.query(0, "a", source="d000")], [Source(), Random()])
    assert found(made) == {("q000", "d000"): {"source": 1, "random": 1}}


def test_queries_without_a_document_are_refused(settings, tmp_path):
    with pytest.raises(DataError, match=r"none of the 1 queries has a document to learn from \("):
        mined(settings, tmp_path, [tiny.doc(0, "text")], [tiny.query(0, "a")], [Source()])


def test_the_draw_depends_on_the_seed_and_not_on_the_sharding(settings, tmp_path, monkeypatch):
    docs = [tiny.doc(n, "text") for n in range(40)]
    queries = [tiny.query(n, "a") for n in range(6)]

    def drawn(storage, seed):
        own = lambda **blocks: settings(**blocks, storage_path=str(storage))  # noqa: E731 - as short as it can be
        return mined(own, storage, docs, queries, [Random(k=5)], seed).table("pairs")

    first = drawn(tmp_path / "a", 0)
    assert first.num_rows == 30
    assert not drawn(tmp_path / "a", 1).equals(first)
    monkeypatch.setattr(module, "QUERIES_A_SHARD", 2)
    assert drawn(tmp_path / "b", 0).equals(first)
