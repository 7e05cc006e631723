"""The search with all shards, block by block."""

import contextlib
import dataclasses
import random
import threading
import time

import numpy as np
import psutil
import pytest

from gradret.config.run import Config, Index
from gradret.datasets.pydocs import Pydocs
from gradret.errors import StageError
from gradret.search import searcher
from gradret.search.vectors import read_vectors
from gradret.stages import encode as encoding
from gradret.stages.encode import encode
from gradret.stages.index import build, index
from gradret.stages.search_index import search_index
from gradret.store.artifacts import Draft
from tests.processes import PATIENCE
from tests.stages import tiny

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def world(tmp_path_factory, ray_session):
    """40 documents in two index shards, and 23 queries of two splits."""
    storage = tmp_path_factory.mktemp("world")
    config = Config(name="toy", dataset=Pydocs(), storage_path=str(storage), index=Index(num_shards=2))
    draw = random.Random(0)
    docs = [tiny.doc(n, tiny.sentence(draw, 6)) for n in range(40)]
    queries = [tiny.query(n, tiny.sentence(draw, 3), split=["test", None, "train"][n % 3]) for n in range(23)]
    ingested = tiny.artifact(storage, "ingest", {"docs": [docs[:25], docs[25:]]})
    generated = tiny.artifact(storage, "generate", {"queries": [queries]})
    return config, ingested, generated, tiny.model(storage, "static")


@pytest.fixture
def small(monkeypatch):
    """Blocks of 4 queries, out of VECTORS of 10 a shard."""
    monkeypatch.setattr("gradret.stages.search_index._QUERIES_A_BLOCK", 4)
    monkeypatch.setattr(encoding, "_QUERIES_A_SHARD", 10)


def searched(world, stage, split="", k=5):
    config, ingested, generated, model = world
    return search_index(stage, config, index(config, model, ingested), generated, model=model, k=k, split=split)


def brute_force(world, k=5):
    config, ingested, generated, model = world
    ids, docs = read_vectors(encode(config, model, ingested, "docs"))
    query_ids, queries = read_vectors(encode(config, model, generated, "queries"))
    found = {}
    for query_id, query in zip(query_ids, queries.astype(np.float64), strict=True):
        scores = [float(np.float32((query * doc).sum())) for doc in docs.astype(np.float64)]
        found[query_id] = sorted(zip(scores, ids, strict=True), reverse=True)[:k]
    return found


def run_of(artifact):
    found = {}
    for row in (row for rows in artifact.batches("run") for row in rows.to_pylist()):
        found.setdefault(row["query_id"], []).append((row["score"], row["doc_id"]))
        assert row["rank"] == len(found[row["query_id"]])
    return found


def test_blocks_end_with_the_shards_of_the_vectors(world, small):
    made = searched(world, "blocks")
    assert run_of(made) == brute_force(world)
    sizes = [len(set(rows["query_id"].to_pylist())) for rows in made.batches("run")]
    assert sizes == [4, 4, 2, 4, 4, 2, 3]
    assert made.counts == {"queries": 23, "shards": 2}


def test_one_split(world, small):
    want = {q: found for n, (q, found) in enumerate(sorted(brute_force(world).items())) if n % 3 == 0}
    made = searched(world, "split", split="test")
    assert run_of(made) == want
    assert made.counts["queries"] == 8


def test_a_search_that_was_killed_goes_on(world, small, monkeypatch):
    whole, write, written = searched(world, "whole"), Draft.write, []

    def failing(self, table, rows, shard=0):
        if len(written) == 3:
            raise RuntimeError("killed")
        written.append(shard)
        write(self, table, rows, shard)

    monkeypatch.setattr(Draft, "write", failing)
    with pytest.raises(RuntimeError, match="killed"):
        searched(world, "again")
    monkeypatch.setattr(Draft, "write", lambda *given: (written.append(given[-1]), write(*given)))
    made = searched(world, "again")
    assert sorted(written) == list(range(7))  # none twice
    assert [rows.to_pylist() for rows in made.batches("run")] == [rows.to_pylist() for rows in whole.batches("run")]


def test_an_actor_that_cannot_search_is_no_traceback(world, monkeypatch):
    config, ingested, generated, model = world
    built = index(config, model, ingested)
    monkeypatch.setattr(searcher._ShardActor, "search", lambda self, queries, k, exact: 1 / 0)
    with pytest.raises(StageError, match=r"(?s)broken: .*division by zero"):
        search_index("broken", config, built, generated, model=model, k=5)


def processes(title):
    """Ray's workers that are called so."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if title in " ".join(process.cmdline()):
                found.append(process)
    return found


def killing(title, killed):
    """A thread that kills one worker of that name, as soon as there is one, with SIGKILL."""

    def kill():
        until = time.monotonic() + PATIENCE
        while not killed and time.monotonic() < until:
            for process in processes(title)[:1]:
                process.kill()
                killed.append(process.pid)
            time.sleep(0.005)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_an_actor_that_is_killed_is_started_again_and_its_blocks_asked_again(world, small, monkeypatch):
    whole, written, write, killed = searched(world, "unharmed"), [], Draft.write, []

    def killing_write(self, table, rows, shard=0):
        if not written:  # in mid-search: blocks are asked, and more are to come
            (process, *_) = processes("_ShardActor")
            process.kill()
            killed.append(process.pid)
        written.append(shard)
        write(self, table, rows, shard)

    monkeypatch.setattr(Draft, "write", killing_write)
    made = searched(world, "harmed")
    assert len(killed) == 1
    assert not psutil.pid_exists(killed[0])
    assert sorted(written) == list(range(7))
    assert [rows.to_pylist() for rows in made.batches("run")] == [rows.to_pylist() for rows in whole.batches("run")]


def test_a_builder_that_is_killed_is_started_again(world, tmp_path):
    """A graph, which takes a second or two to build; the first worker dies while it does."""
    config, _, _, model = world
    config = dataclasses.replace(config, storage_path=str(tmp_path), index=Index("HNSW32", num_shards=2))
    draw = np.random.default_rng(0)
    rows = [{"id": f"d{n:05d}", "vector": row} for n, row in enumerate(draw.standard_normal((6000, 64)).tolist())]
    vectors = tiny.artifact(tmp_path, "encode", {"vectors": [rows]}, rows_out=len(rows))
    other = tiny.artifact(tmp_path, "encode", {"vectors": [rows, []]}, rows_out=len(rows))
    whole, killed = build(config, model, vectors), []
    thread = killing("MapBatches(_task)", killed)
    harmed = build(config, model, other)
    thread.join()
    assert killed
    files = [
        {path.name: path.read_bytes() for path in (one.path / "shards").glob("*.faiss")} for one in (whole, harmed)
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 2
