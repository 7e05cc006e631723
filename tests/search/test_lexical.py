"""Spread of BM25 scores, and scores of some documents, against the scores of all."""

import random

import numpy as np
import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.search.bm25 import Bm25Index, build_bm25
from gradret.search.lexical import LexicalMoments, scores_at

from ..stages import tiny

pytestmark = pytest.mark.usefixtures("ray_session")

FREQUENT, RARE = tiny.WORDS[:4], tiny.WORDS[4:]


@pytest.fixture(scope="module")
def index(tmp_path_factory, ray_session):
    """300 documents: four words are in most of them, about a hundred in two or three each."""
    storage, draw = tmp_path_factory.mktemp("lexical"), random.Random(0)
    texts = [" ".join([*draw.choices(FREQUENT, k=6), *draw.sample(RARE, draw.randint(0, 2))]) for _ in range(300)]
    ingested = tiny.artifact(storage, "ingest", {"docs": [[tiny.doc(n, text) for n, text in enumerate(texts)]]})
    return Bm25Index(build_bm25(Config("toy", Pydocs(), str(storage)), ingested, 1.2, 0.75))


def drawn(number):
    """Terms of a query: frequent, rare and unknown words, some of them twice; or only one kind."""
    draw = random.Random(number)
    terms = draw.choices(FREQUENT, k=draw.randint(0, 3)) + draw.choices([*RARE, "unheard"], k=draw.randint(0, 3))
    return draw.sample(terms, len(terms))


def test_the_spread_is_that_of_all_scores_whatever_was_asked_before(index):
    moments = LexicalMoments(index)
    kinds = set()
    for terms in map(drawn, range(200)):
        scores = np.zeros(len(index.doc_ids))
        for term in terms:
            scores += index.scores([term]).astype(np.float64)
        found = moments.of(terms)
        np.testing.assert_allclose(found, (scores.mean(), scores.std()), rtol=1e-9, atol=1e-12)
        assert found == LexicalMoments(index).of(terms)
        kinds.add((bool({*terms} & {*FREQUENT}), bool({*terms} & {*RARE})))
    assert len(kinds) == 4
    assert not moments.scores.any()


def test_scores_of_some_documents_are_those_of_all(index):
    places = np.array([299, 0, 17, 17, 150])
    for terms in map(drawn, range(50)):
        np.testing.assert_array_equal(scores_at(index, terms, places), index.scores(terms)[places])
        assert scores_at(index, terms, places[:0]).shape == (0,)
