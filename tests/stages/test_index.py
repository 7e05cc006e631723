"""Index and search: from vectors to a run."""

import dataclasses

import numpy as np
import pytest

from gradret.config import Index, Label, Search
from gradret.dense.vectors import read_vectors
from gradret.errors import ConfigError, StorageError
from gradret.stages.encode import encode
from gradret.stages.index import index
from gradret.stages.search import search, search_bm25, search_teacher

from . import tiny
from .outside import Numbers


def searched(world, k=20, **keys):
    """The index and the run of the static model."""
    config, ingested, models = world
    config = dataclasses.replace(config, index=Index(**keys), search=Search(k=k))
    built = index(config, models["static"], ingested)
    return built, search(config, models["static"], built, ingested)


@pytest.fixture(scope="module")
def brute_force(world):
    """Every test query's documents by float64 scores rounded to float32, then doc_id, both descending."""
    config, ingested, models = world
    ids, docs = read_vectors(encode(config, models["static"], ingested, "docs"))
    query_ids, queries = read_vectors(encode(config, models["static"], ingested, "queries"))
    runs = {}
    for query_id, query in zip(query_ids, queries.astype(np.float64), strict=True):
        scores = [np.float32((query * doc).sum()) for doc in docs.astype(np.float64)]
        runs[query_id] = sorted(zip(scores, ids, strict=True), reverse=True)
    return runs


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_any_number_of_shards_gives_the_run_of_brute_force(world, brute_force, shards):
    """The corpus ends in eight copies of one document, and one query asks for it."""
    built, run = searched(world, num_shards=shards)
    rows = run.table("run").to_pylist()
    for query_id, want in brute_force.items():
        mine = [row for row in rows if row["query_id"] == query_id]
        assert [row["rank"] for row in mine] == list(range(1, 21))
        assert [(np.float32(row["score"]), row["doc_id"]) for row in mine] == want[:20]
    copies = [row["doc_id"] for row in rows if row["query_id"] == "q011"][:8]
    assert copies == [f"d{number:03d}" for number in range(57, 49, -1)]
    assert built.manifest["notes"]["shards"] == run.counts["shards"] == shards
    assert built.counts["rows_in"] == 60


def test_more_shards_than_documents_and_more_wanted_than_there_are(world):
    config, _, models = world
    docs = [tiny.doc(n, text) for n, text in enumerate(["bal", "dim", "bal dim"])]
    queries = [tiny.query(0, "bal", split="test")]
    ingested = tiny.artifact(config.storage_path, "ingest", {"docs": [docs], "queries": [queries]})
    built, run = searched((config, ingested, models), num_shards=5, k=1000)
    rows = run.table("run").to_pylist()
    assert [(row["query_id"], row["doc_id"]) for row in rows] == [("q000", "d000"), ("q000", "d002"), ("q000", "d001")]
    assert built.counts["rows_in"] == 3


def test_a_type_that_has_to_be_trained(world, brute_force):
    _, run = searched(world, factory="IVF4,Flat", num_shards=2)
    rows = run.table("run").to_pylist()
    for query_id, want in brute_force.items():
        scores = {doc_id: score for score, doc_id in want}
        mine = [row for row in rows if row["query_id"] == query_id]
        assert mine
        assert all(row["score"] == scores[row["doc_id"]] for row in mine)
        assert [row["rank"] for row in mine] == list(range(1, len(mine) + 1))
        order = [(row["score"], row["doc_id"]) for row in mine]
        assert order == sorted(order, reverse=True)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"factory": "Falt"}, "index.factory=Falt: FAISS refuses it"),
        ({"factory": "IVF4096,Flat"}, "IVF4096,Flat: FAISS refuses it for 60 training vectors of dimension 12"),
        ({"num_shards": 0}, "num_shards"),
    ],
)
def test_what_cannot_be_built_is_a_wrong_config(world, keys, message):
    with pytest.raises(ConfigError, match=message):
        searched(world, **keys)


def test_a_damaged_shard_is_named(world):
    config, ingested, models = world
    config = dataclasses.replace(config, index=Index(num_shards=2, factory="SQfp16"), search=Search(k=7))
    built = index(config, models["static"], ingested)
    path = built.path / "shards" / "00001.faiss"
    path.write_bytes(path.read_bytes()[:-3] + b"\0\0\0")
    with pytest.raises(StorageError, match=r"00001\.faiss is damaged"):
        search(config, models["static"], built, ingested)
    # A shard that is gone is missed, not left out of the results.
    path.unlink()
    with pytest.raises(StorageError, match=r"00001\.faiss is missing"):
        search(config, models["static"], built, ingested)


def test_bm25_returns_only_what_shares_a_word(world):
    config, ingested, _ = world
    rows = search_bm25(config, ingested, ingested).table("run").to_pylist()
    docs = ingested.table("docs").to_pylist()
    texts = {row["doc_id"]: f"{row['title']} {row['text']}".split() for row in docs}
    queries = {row["query_id"]: row["text"].split() for row in ingested.table("queries").to_pylist()}
    assert rows
    for row in rows:
        assert row["score"] > 0
        assert set(queries[row["query_id"]]) & set(texts[row["doc_id"]])
    first = [row["doc_id"] for row in rows if row["query_id"] == "q011"][:8]
    assert first == [f"d{number:03d}" for number in range(57, 49, -1)]


def test_the_teachers_run_breaks_ties_as_all_do_and_may_find_nothing(world):
    config, ingested, _ = world
    config = dataclasses.replace(config, label=Label(teacher=Numbers()))
    rows = search_teacher(config, ingested, ingested).table("run").to_pylist()
    found = {}
    for row in rows:
        found.setdefault(row["query_id"], []).append(row["doc_id"])
    assert set(found) == {f"q{n:03d}" for n in range(12)} - {"q002"}
    assert set(map(tuple, found.values())) == {("d002", "d001", "d000")}
