import pytest

from gradret.config import Mine
from gradret.errors import DataError
from gradret.retrievers.random import Random
from gradret.retrievers.source import Source
from gradret.stages import mine as module
from gradret.stages.mine import mine, pair_id

from . import tiny
from .outside import Listed, Other

pytestmark = pytest.mark.usefixtures("ray_session")


def mined(settings, tmp_path, docs, queries, retrievers, seed=0):
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [docs]})
    generated = tiny.artifact(tmp_path, "generate", {"queries": [queries]})
    return mine(settings(mine=Mine(retrievers=tuple(retrievers)), seed=seed), ingested, generated)


def test_the_union_with_who_found_it_at_which_rank(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "QUERIES_A_SHARD", 1)
    docs = [tiny.doc(n, "text") for n in range(5)]
    queries = [tiny.query(0, "a", source="d002"), tiny.query(1, "b"), tiny.query(2, "c", source="d001")]
    first = Listed("q000:d004,d002,d000;q001:d003;q002:d001")
    made = mined(settings, tmp_path, docs, queries, [Source(), first, Other("q000:d000,d004;q001:d001,d003")])
    listed, other = "tests.stages.outside:Listed", "tests.stages.outside:Other"
    assert [
        (row["query_id"], row["doc_id"], dict(zip(row["origins"], row["ranks"], strict=True)))
        for row in made.table("pairs").to_pylist()
    ] == [
        ("q000", "d000", {listed: 3, other: 1}),
        ("q000", "d002", {"source": 1, listed: 2}),
        ("q000", "d004", {listed: 1, other: 2}),
        ("q001", "d001", {other: 1}),
        ("q001", "d003", {listed: 1, other: 2}),
    ]
    assert all(row["pair_id"] == pair_id(row["query_id"], row["doc_id"]) for row in made.table("pairs").to_pylist())
    assert made.counts == {"rows_in": 3, "rows_out": 5, "quarantined": 1}
    (dropped,) = made.table("quarantine").to_pylist()
    assert (dropped["where"], dropped["reason"], dropped["raw"]) == ("q002", "fewer than two documents found", "c")
    assert made.manifest["quarantined"] == {"fewer than two documents found": 1}


@pytest.mark.parametrize("size", [2, 3])
def test_a_tiny_corpus(settings, tmp_path, size):
    docs = [tiny.doc(n, "text") for n in range(size)]
    made = mined(settings, tmp_path, docs, [tiny.query(0, "a", source="d000")], [Source(), Random()])
    assert made.table("pairs")["doc_id"].to_pylist() == [row["doc_id"] for row in docs]


def test_a_corpus_of_one_document_is_refused(settings, tmp_path):
    with pytest.raises(DataError, match="no query found two documents"):
        mined(settings, tmp_path, [tiny.doc(0, "text")], [tiny.query(0, "a", source="d000")], [Source(), Random()])


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


def test_pair_ids_do_not_run_together():
    assert pair_id("a", "bc") != pair_id("ab", "c")
    assert pair_id("a", "b") == pair_id("a", "b")
