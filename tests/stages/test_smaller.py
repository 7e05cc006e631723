"""Indexes of fewer dimensions and bits, and their comparison, against numpy on the stored vectors."""

import dataclasses

import numpy as np
import pytest

from gradret.config.run import Config, Index, Search
from gradret.config.sizes import Size, parse_size
from gradret.errors import ConfigError, DamagedError
from gradret.search.vectors import read_vectors
from gradret.stages.encode import encode
from gradret.stages.evaluate import evaluate
from gradret.stages.index import index
from gradret.stages.search import search
from gradret.stages.smaller import smaller
from gradret.store.repair import repaired

from . import tiny

SIZES = ("8", "int8", "8 int8", "binary", "8 binary")


@pytest.fixture(scope="module")
def judged(world):
    """The test queries of the world, each with two relevant documents."""
    config, ingested, _ = world
    rows = ingested.table("queries").to_pylist()
    pairs = [(row["query_id"], f"d{(7 * n + more) % 58:03d}") for n, row in enumerate(rows) for more in (0, 3)]
    qrels = [
        {"query_id": query_id, "doc_id": doc_id, "relevance": 1 + n % 2, "split": "test"}
        for n, (query_id, doc_id) in enumerate(pairs)
    ]
    return tiny.artifact(config.storage_path, "queries", {"queries": [rows], "qrels": [qrels]})


def decoded(size, docs, queries):
    """Documents as their codes stand for, and queries, both cut; the codes are tested with FAISS's and numpy's."""
    kept = size.of(docs.shape[1])
    docs, queries = (part[:, :kept] for part in (docs, queries))
    if kept < 12:
        docs, queries = (
            part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-30) for part in (docs, queries)
        )
    if size.vectors == "int8":
        lowest, step = docs.min(0), np.ptp(docs, axis=0) / 255
        docs = lowest + (np.floor((docs - lowest) / step).clip(0, 255) + 0.5) * step
    if size.vectors == "binary":
        docs = np.where(docs > docs.mean(0), 1, -1) / np.sqrt(kept)
    return docs, queries


def searched(world, size, shards=1, factory="Flat"):
    """The index and the run of the static model, with 20 documents a query."""
    config, ingested, models = world
    given = Search(k=20, vectors=size.vectors, dimensions=size.dimensions)
    config = dataclasses.replace(config, index=Index(num_shards=shards, factory=factory), search=given)
    built = index(config, models["static"], ingested, config.search.size)
    return built, search(config, models["static"], built, ingested)


def listed(run):
    return [(row["query_id"], row["doc_id"], row["score"]) for row in run.table("run").to_pylist()]


@pytest.mark.parametrize("text", ["8", "8 int8", "binary"])
def test_a_smaller_index_ranks_by_what_its_codes_stand_for(world, text):
    """Of 60 documents, four times 52 candidates by Hamming distance are all."""
    config, ingested, models = world
    size = parse_size(text)
    built, run = searched(world, size, shards=2)
    ids, docs = read_vectors(encode(config, models["static"], ingested, "docs"))
    query_ids, queries = read_vectors(encode(config, models["static"], ingested, "queries"))
    docs, queries = decoded(size, docs, queries)
    scores = {
        (q, d): score
        for q, row in zip(query_ids, queries @ docs.T, strict=True)
        for d, score in zip(ids, row, strict=True)
    }
    found = listed(run)
    assert len(found) == 12 * 20
    for query_id, doc_id, score in found:
        assert score == pytest.approx(scores[query_id, doc_id], abs=2e-3 if size.vectors == "int8" else 1e-5)
    for query_id in query_ids:
        worst = min(score for asked, _, score in found if asked == query_id)
        left_out = {doc_id for asked, doc_id, _ in found if asked == query_id}
        assert max(scores[query_id, doc_id] for doc_id in ids if doc_id not in left_out) <= worst + 2e-3
    notes = built.manifest["notes"]
    assert notes["bytes"]["vectors"] == 2 * 128 + 60 * size.width(12)  # numpy's headers
    assert notes["bytes"]["index"] == 0
    assert listed(searched(world, size, shards=1)[1]) == listed(searched(world, size, shards=7)[1]) == found


def test_fewer_dimensions_go_with_any_faiss_index(world):
    built, run = searched(world, Size(8), factory="SQfp16")
    assert built.manifest["notes"]["dimension"] == 8
    exact = listed(searched(world, Size(8))[1])
    assert len(set(listed(run)) & set(exact)) > 0.9 * len(exact)


def test_a_damaged_scale_is_named_and_a_run_builds_its_shard_again(world):
    config, ingested, models = world
    config = dataclasses.replace(config, index=Index(num_shards=2), search=Search(k=9, vectors="int8"))

    def built():
        return index(config, models["static"], ingested, config.search.size)

    path = built().path / "shards" / "00001.scales.npy"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(DamagedError, match=r"00001\.scales\.npy is damaged"):
        search(config, models["static"], built(), ingested)
    assert repaired(lambda: search(config, models["static"], built(), ingested)).counts["queries"] == 12
    assert path.read_bytes() == good


def test_the_comparison_has_the_numbers_of_a_search_with_each_size(world, judged):
    """nDCG@10 of the search's own run; overlap counted by hand; no vector is encoded again."""
    config, ingested, models = world
    config = dataclasses.replace(config, search=Search(smaller=(*SIZES, "8", "12")))
    encoded = {
        table: encode(config, models["static"], texts, table)
        for table, texts in (("docs", ingested), ("queries", judged))
    }
    made = smaller(config, models["static"], ingested, judged)
    assert {made.manifest["inputs"][name] for name in ("docs", "asked")} == {
        f"encode/{artifact.fingerprint}" for artifact in encoded.values()
    }
    rows = made.manifest["notes"]["sizes"]
    assert [(row["dimensions"], row["vectors"], row["bytes_a_document"], row["bytes"]) for row in rows] == [
        (12, "float32", 48, 2880),
        (8, "float32", 32, 1920),
        (12, "int8", 12, 720),
        (8, "int8", 8, 480),
        (12, "binary", 2, 120),
        (8, "binary", 1, 60),
        (12, "float32", 48, 2880),
    ]
    for row, text in zip(rows, ("12", *SIZES), strict=False):
        run = _run_of_100(config, models["static"], ingested, judged, parse_size(text))
        metrics = evaluate(config, judged, run).table("metrics").to_pylist()
        values = [each["value"] for each in metrics if each["measure"] == "nDCG@10"]
        assert row["nDCG@10"] == pytest.approx(np.mean(values), abs=1e-9)
        assert row["overlap@100"] == 1  # there are 60 documents
    assert len({row["nDCG@10"] for row in rows}) > 3
    assert smaller(config, models["static"], ingested, judged).path == made.path


def _run_of_100(config, model, ingested, judged, size):
    config = dataclasses.replace(config, search=Search(k=100, vectors=size.vectors, dimensions=size.dimensions))
    return search(config, model, index(config, model, ingested, size), judged)


def test_the_overlap_is_a_share_of_the_wholes_first_documents(world, judged, monkeypatch):
    monkeypatch.setattr("gradret.stages.smaller._DEPTH", 10)
    config, ingested, models = world
    config = dataclasses.replace(config, seed=1, search=Search(smaller=("4 binary",)))
    whole, small = smaller(config, models["static"], ingested, judged).manifest["notes"]["sizes"]
    assert whole["overlap@10"] == 1
    runs = [
        {(row["query_id"], row["doc_id"]) for row in run.table("run").to_pylist() if row["rank"] <= 10}
        for run in (
            _run_of_100(config, models["static"], ingested, judged, size) for size in (Size(), Size(4, "binary"))
        )
    ]
    assert small["overlap@10"] == pytest.approx(len(runs[0] & runs[1]) / len(runs[0]))
    assert small["overlap@10"] < 0.9


@pytest.mark.parametrize("text", ["", "0", "int4", "128 64", "int8 binary", "-3", "int8 128", "1.5"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="must be a number of dimensions"):
        Search(smaller=(text,))


def test_sizes_that_cannot_be(world, judged):
    config, ingested, models = world
    with pytest.raises(ConfigError, match=r"search\.vectors: is int8.*index\.factory is IVF4"):
        Config(name="x", dataset=config.dataset, index=Index(factory="IVF4,Flat"), search=Search(vectors="int8"))
    with pytest.raises(ConfigError, match=r"search\.dimensions: the model's vectors have 12 dimensions"):
        index(config, models["static"], ingested, Size(13))
    bad = dataclasses.replace(config, search=Search(smaller=("64",)))
    with pytest.raises(ConfigError, match=r"search\.smaller: the model's vectors have 12 dimensions"):
        smaller(bad, models["static"], ingested, judged)
