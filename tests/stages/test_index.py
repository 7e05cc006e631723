"""Index and search: from vectors to a run."""

import dataclasses
import itertools

import numpy as np
import pytest

from gradret.config.resources import IndexResources, Workers
from gradret.config.run import Index, Label, Search
from gradret.datasets.pydocs import Pydocs
from gradret.errors import ConfigError, DamagedError, StorageError
from gradret.search.vectors import read_vectors
from gradret.stages.encode import encode
from gradret.stages.index import build, index
from gradret.stages.search import search, search_bm25, search_teacher
from gradret.store.repair import repaired

from . import tiny
from .outside import Itself, Numbers


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
        ({"factory": "Falt"}, "factory: FAISS does not accept 'Falt'"),
        ({"factory": "PQ7x8"}, "PQ7x8: FAISS rejects it for vectors of dimension 12: .*multiple of the number of sub"),
        ({"factory": "HNSW32", "resources": IndexResources(memory_gib=0.1)}, "(?s)does not fit:.*no index type fits"),
        ({"factory": "IVF4096,Flat"}, "IVF4096,Flat: FAISS cannot train it on 60 vectors of dimension 12"),
        ({"num_shards": 0}, "num_shards"),
    ],
)
def test_what_cannot_be_built_is_a_wrong_config(world, keys, message):
    with pytest.raises(ConfigError, match=message):
        searched(world, **keys)


@pytest.mark.parametrize("factory", ["SQfp16", "IVF2,Flat", "Flat"])
def test_a_damaged_shard_is_named_and_a_run_builds_it_alone(world, factory):
    config, ingested, models = world
    config = dataclasses.replace(config, index=Index(num_shards=3, factory=factory), search=Search(k=7))
    built = index(config, models["static"], ingested)
    folder = built.path / "shards"
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.glob("*"))}
    path = folder / ("00001.npy" if factory == "Flat" else "00001.faiss")
    path.write_bytes(path.read_bytes()[:-3] + b"\0\0\7")
    with pytest.raises(DamagedError, match=rf"{path.name} is damaged.*delete it and run"):
        search(config, models["static"], built, ingested)
    found = repaired(lambda: search(config, models["static"], index(config, models["static"], ingested), ingested))
    assert found.counts["queries"] == 12
    assert index(config, models["static"], ingested).manifest["notes"] == built.manifest["notes"]
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.glob("*"))}
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    assert {name for name in after if after[name][1] != before[name][1]} == {
        name for name in before if name.startswith("00001")
    }
    # A shard that is gone is missed, not left out of the results.
    path.unlink()
    with pytest.raises(DamagedError, match=rf"{path.name} is missing"):
        search(dataclasses.replace(config, search=Search(k=6)), models["static"], built, ingested)


def test_an_index_of_another_model_is_an_error(world):
    config, ingested, models = world
    built = index(config, models["static"], ingested)
    with pytest.raises(
        ConfigError,
        match=rf"was built with model base/{models['static'].fingerprint}, and cannot be searched with base/",
    ):
        search(config, models["transformer"], built, ingested)


@pytest.mark.parametrize(("harm", "message"), [("nan", "'d036' is not finite"), ("short", "different dimensions")])
def test_vectors_that_are_not_what_was_encoded(world, tmp_path, harm, message):
    config, _, models = world
    config = dataclasses.replace(config, storage_path=str(tmp_path))
    rows = [{"id": f"d{number:03d}", "vector": [1.0] * 12} for number in range(40)]
    rows[36]["vector"] = [float("nan")] * 12 if harm == "nan" else [1.0] * 11
    vectors = tiny.artifact(tmp_path, "encode", {"vectors": [rows[:35], rows[35:]]}, rows_out=40)
    with pytest.raises(StorageError, match=message):
        build(config, models["static"], vectors)


def test_a_disk_that_is_too_small_is_told_before_the_build(world, tiny):
    folder, enlarge = tiny
    config, ingested, models = world
    vectors = encode(config, models["static"], ingested, "docs")
    config = dataclasses.replace(config, storage_path=str(folder), index=Index("SQ8", num_shards=2))
    (folder / "ballast").write_bytes(bytes(1 << 16))
    with pytest.raises(ConfigError, match="the index takes 0 MiB on disk, but only 0 MiB are free; free some"):
        build(config, models["static"], vectors)
    assert not list(folder.glob("artifacts/index/*/shards"))
    enlarge()
    assert build(config, models["static"], vectors).counts["rows_in"] == 60


def test_auto_takes_exact_search_for_a_small_corpus_and_says_so(world, capfd):
    built, _ = searched(world, factory="auto")
    assert built.manifest["notes"]["factory"] == "Flat"
    assert "60 vectors are few enough" in built.manifest["notes"]["why"]
    assert "auto chose Flat: 60 vectors are few enough" in capfd.readouterr().err


def test_recall_latency_and_size_are_noted(world, brute_force):
    """Recall as a count by hand, over all twelve queries."""
    config, ingested, models = world
    config = dataclasses.replace(config, index=Index("IVF8,Flat", num_shards=2), search=Search(15, "nprobe=1"))
    built = index(config, models["static"], ingested)
    run = search(config, models["static"], built, ingested)
    notes = run.manifest["notes"]["index"]
    found = {}
    for row in run.table("run").to_pylist():
        found.setdefault(row["query_id"], []).append(row["doc_id"])
    for k, key in [(10, "recall@10"), (15, "recall@k")]:
        common = [len({d for _, d in brute_force[q][:k]} & set(found[q][:k])) for q in brute_force]
        assert notes[key] == pytest.approx(sum(common) / (12 * k))
    assert 0 < notes["recall@k"] < 1
    assert (notes["queries"], notes["k"], notes["parameters"]) == (12, 15, "nprobe=1")
    assert notes["milliseconds_alone"] > 0 < notes["milliseconds_batched"]
    sizes = {
        ending: sum(p.stat().st_size for p in (built.path / "shards").glob(f"*.{ending}"))
        for ending in ("npy", "faiss")
    }
    assert (notes["bytes"]["vectors"], notes["bytes"]["index"]) == (sizes["npy"], sizes["faiss"])
    # Another search parameter is another run over the same index; an exact index has nothing to lose.
    more = dataclasses.replace(config, search=Search(15, "nprobe=8"))
    assert index(more, models["static"], ingested).path == built.path
    assert search(more, models["static"], built, ingested).manifest["notes"]["index"]["recall@k"] == 1
    assert searched(world)[1].manifest["notes"]["index"]["recall@10"] == 1


@pytest.mark.parametrize("key", ["nprobe", "efSearch=1,nprobe", "nprobe=x"])
def test_search_parameters_that_are_none(key):
    with pytest.raises(ConfigError, match="parameters: must have the form nprobe=32"):
        Search(parameters=key)


def test_gpus_that_are_not_there(world):
    config, ingested, models = world
    built = index(config, models["static"], ingested)
    config = dataclasses.replace(config, search=Search(resources=Workers(gpus=1)))
    with pytest.raises(
        ConfigError, match=r"search needs a node with 0\.01 CPU, 1 GPU, but this machine has .* in search's resources"
    ):
        search(config, models["static"], built, ingested)


@dataclasses.dataclass(frozen=True)
class SameIds(Pydocs):
    exclude_same_ids: bool = True


def test_a_document_with_the_querys_id_is_left_out_where_the_dataset_demands_it(world):
    """Every query is a document of the corpus, word by word, and would find itself first."""
    config, _, models = world
    docs = [tiny.doc(n, f"{word} {other}") for n, (word, other) in enumerate(itertools.combinations(tiny.WORDS[:7], 2))]
    asked = [doc | {"query_id": doc["doc_id"]} for doc in docs[::4]]
    queries = [tiny.query(0, row["text"], split="test") | {"query_id": row["query_id"]} for row in asked]
    ingested = tiny.artifact(config.storage_path, "ingest", {"docs": [docs], "queries": [queries]}, rows_out=len(docs))
    config = dataclasses.replace(config, search=Search(k=5), label=Label(teacher=Itself()))
    for demanded in (False, True):
        config = dataclasses.replace(config, dataset=SameIds() if demanded else Pydocs())
        runs = [
            search(config, models["static"], index(config, models["static"], ingested), ingested),
            search_bm25(config, ingested, ingested),
            search_teacher(config, ingested, ingested),
        ]
        for run in runs:
            rows = run.table("run").to_pylist()
            assert {row["query_id"] for row in rows} == {row["query_id"] for row in queries}
            itself = [row for row in rows if row["doc_id"] == row["query_id"]]
            assert len(itself) == (0 if demanded else len(queries))
            assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5] * len(queries)


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
