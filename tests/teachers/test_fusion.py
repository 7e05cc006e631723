"""The fusion against scores over the whole corpus, computed at once."""

import functools
import random

import numpy as np
import pytest

from gradret.config.run import Config, Index
from gradret.datasets.pydocs import Pydocs
from gradret.encoders.pretrained import Pretrained
from gradret.search.bm25 import Bm25Index
from gradret.search.vectors import read_vectors
from gradret.stages.base import base
from gradret.stages.encode import encode
from gradret.teachers import fusion
from gradret.teachers.fusion import Fusion

from ..stages import tiny

pytestmark = pytest.mark.usefixtures("ray_session")

QUERIES = [*(tiny.query(n, text) for n, text in enumerate(["bal dim", "kun", "bal bal dor", "unheard of", ""]))]


@pytest.fixture(scope="module")
def world(tmp_path_factory, ray_session):
    """60 documents in three shards, in an order that is not that of their ids; 15 are alike, one is empty."""
    storage, draw = tmp_path_factory.mktemp("fusion"), random.Random(0)
    docs = [tiny.doc(n, tiny.sentence(draw, draw.randint(2, 12))) for n in range(44)]
    docs += [tiny.doc(n, "bal dim kun") for n in range(44, 59)] + [tiny.doc(59, "")]
    draw.shuffle(docs)
    ingested = tiny.artifact(storage, "ingest", {"docs": [docs[:20], docs[20:45], docs[45:]]}, rows_out=60)
    queries = tiny.artifact(storage, "generate", {"queries": [QUERIES]})
    encoder = Pretrained(model=str(tiny.model(storage, "transformer").path / "model"))
    config = Config("toy", Pydocs(), str(storage), index=Index(num_shards=3))
    return functools.partial(Fusion, encoder), (config, ingested, queries)


@pytest.fixture(scope="module")
def whole(world):
    """Standardised dense and lexical scores, ``(queries, documents)``, and the documents' ids."""
    teacher, (config, ingested, queries) = world
    model = base(config, ingested, teacher().encoder)
    doc_ids, docs = read_vectors(encode(config, model, ingested, "docs"))
    _, vectors = read_vectors(encode(config, model, queries, "queries"))
    index = Bm25Index(teacher().prepare(config, ingested, queries)["bm25"])
    rows = [dict(zip(index.doc_ids.to_pylist(), index.scores(row["text"].split()), strict=True)) for row in QUERIES]
    lexical = np.array([[row[doc_id] for doc_id in doc_ids] for row in rows], np.float64)
    return *(
        standardized(scores) for scores in (vectors.astype(np.float64) @ docs.T.astype(np.float64), lexical)
    ), doc_ids


def standardized(scores):
    centred = scores - scores.mean(axis=1, keepdims=True)
    deviation = scores.std(axis=1, keepdims=True)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-9)


@pytest.mark.parametrize("weight", [0.6, 0.0, 1.0])
def test_scores_are_standardised_over_the_whole_corpus(world, whole, weight):
    teacher, artifacts = world
    dense, lexical, doc_ids = whole
    made = teacher(dense_weight=weight)
    grader = made.load(made.prepare(*artifacts))
    asked = [doc_ids[number::7] for number in range(len(QUERIES))]
    for query, ids, row in zip(range(len(QUERIES)), asked, grader.score(QUERIES, asked), strict=True):
        want = (weight * dense + (1 - weight) * lexical)[query][[doc_ids.index(doc_id) for doc_id in ids]]
        np.testing.assert_allclose(row, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [1, 9, 30, 100])
def test_a_search_finds_the_best_in_order_whatever_the_blocks(world, k, monkeypatch):
    """Its scores are those of ``score``, ties go by doc_id, and the cut goes through documents that tie."""
    teacher, artifacts = world
    grader = teacher().load(teacher().prepare(*artifacts))
    doc_ids = sorted(grader.docs.ids.to_pylist())
    want = []
    for row in grader.score(QUERIES, [doc_ids] * len(QUERIES)):
        ranked = sorted(zip(row.tolist(), doc_ids, strict=True), reverse=True)[:k]
        want.append([(doc_id, score) for score, doc_id in ranked])
    assert grader.search(QUERIES, k) == want
    monkeypatch.setattr(fusion, "_QUERIES", 2)
    monkeypatch.setattr(fusion, "_DOCUMENTS", 7)
    assert grader.search(QUERIES, k) == want


def test_what_all_workers_read_is_mapped_and_not_copied(world):
    grader = world[0]().load(world[0]().prepare(*world[1]))
    arrays = [*grader.docs.matrices, *grader.bm25.arrays.values()]
    assert not any(array.flags.owndata or array.flags.writeable for array in arrays)
