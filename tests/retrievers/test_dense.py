"""Dense retrieval gives the result of brute force, with the index that the run uses for search."""

import random
from dataclasses import replace

import numpy as np
import pytest

from gradret.config.run import Config, Index
from gradret.config.train import Train
from gradret.datasets.pydocs import Pydocs
from gradret.encoders.pretrained import Pretrained
from gradret.retrievers.dense import Dense
from gradret.search.vectors import read_vectors
from gradret.stages.base import base
from gradret.stages.encode import encode
from gradret.stages.index import index
from tests.stages import tiny

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def world(tmp_path_factory, ray_session):
    """50 documents, the last ones alike; 9 queries; the student is a tiny transformer."""
    storage, draw = tmp_path_factory.mktemp("world"), random.Random(0)
    docs = [tiny.doc(n, tiny.sentence(draw, 8)) for n in range(42)] + [tiny.doc(n, "bal dim") for n in range(42, 50)]
    queries = [tiny.query(n, tiny.sentence(draw, 4), split="train" if n % 2 else None) for n in range(8)]
    ingested = tiny.artifact(storage, "ingest", {"docs": [docs[30:], docs[:30]]}, rows_out=50)
    generated = tiny.artifact(storage, "generate", {"queries": [[*queries, tiny.query(8, "bal dim")]]})
    student = Pretrained(model=str(tiny.model(storage, "transformer").path / "model"), precision="float32")
    blocks = {"train": Train(encoder=student), "index": Index(num_shards=3)}
    return Config(name="toy", dataset=Pydocs(), storage_path=str(storage), **blocks), ingested, generated


def found(world, retriever):
    config, ingested, generated = world
    retrieve = retriever.load(retriever.prepare(config, ingested, generated), 0)
    rows = generated.table("queries").to_pylist()
    return dict(zip([row["query_id"] for row in rows], retrieve(rows), strict=True))


def brute_force(world, encoder=None):
    config, ingested, generated = world
    model = base(config, ingested, encoder)
    ids, docs = read_vectors(encode(config, model, ingested, "docs"))
    query_ids, queries = read_vectors(encode(config, model, generated, "queries"))
    scores = np.einsum("qd,nd->qn", queries.astype(np.float64), docs.astype(np.float64)).astype(np.float32)
    ranked = [sorted(zip(row.tolist(), ids, strict=True), reverse=True) for row in scores]
    return {
        query_id: [(doc_id, rank) for rank, (_, doc_id) in enumerate(row, 1)]
        for query_id, row in zip(query_ids, ranked, strict=True)
    }


@pytest.mark.parametrize("k", [1, 6, 80])
def test_the_first_k_of_brute_force_for_queries_of_any_split(world, k):
    assert found(world, Dense(k=k)) == {query_id: ranked[:k] for query_id, ranked in brute_force(world).items()}


def test_another_encoder(world):
    """One that reads the first two words of a text."""
    other = replace(world[0].train.encoder, max_length=4)
    mine, students = found(world, Dense(k=5, encoder=other)), found(world, Dense(k=5))
    assert mine != students
    assert mine == {query_id: ranked[:5] for query_id, ranked in brute_force(world, other).items()}


def test_the_students_index_is_that_of_the_run(world):
    config, ingested, generated = world
    run = Dense().prepare(config, ingested, generated)["run"]
    made = index(config, base(config, ingested), ingested)
    assert run.manifest["inputs"]["index"] == f"index/{made.fingerprint}"


def test_queries_are_found_whichever_are_asked_together(world):
    config, ingested, generated = world
    retriever = Dense(k=4)
    retrieve = retriever.load(retriever.prepare(config, ingested, generated), 0)
    rows = generated.table("queries").to_pylist()
    assert [retrieve([row])[0] for row in reversed(rows)] == list(reversed(retrieve(rows)))
    assert retrieve([]) == []


def test_what_it_is_asked_for():
    with pytest.raises(ValueError, match=r"k: must be at least 1"):
        Dense(k=0)
