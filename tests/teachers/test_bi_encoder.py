"""Vectors of pairs, from the shards of an index."""

import numpy as np
import pytest

from gradret.config.run import Config, Index
from gradret.config.train import Train
from gradret.datasets.pydocs import Pydocs
from gradret.encoders.pretrained import Pretrained
from gradret.errors import ConfigError
from gradret.teachers.bi_encoder import BiEncoder

from ..stages import tiny
from . import tiny_models

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.plain(tmp_path_factory.mktemp("models") / "bert", "bert")


@pytest.fixture
def grader(tmp_path, folder):
    """Scores of three queries and five documents in two shards; ``shards`` of the index and what the student is."""
    docs = [[tiny.doc(n, tiny_models.WORDS[n]) for n in part] for part in ([0, 1, 2], [3, 4])]
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": docs}, rows_out=5)
    queries = tiny.artifact(
        tmp_path, "generate", {"queries": [[tiny.query(n, tiny_models.WORDS[9 - n]) for n in range(3)]]}
    )

    student = Pretrained(str(folder), max_length=30, precision="float32")

    def make(shards=1, **keys):
        config = Config("toy", Pydocs(), str(tmp_path), train=Train(encoder=student), index=Index(num_shards=shards))
        teacher = BiEncoder(**({"encoder": student} | keys))
        return teacher.load(teacher.prepare(config, ingested, queries))

    return make


ASKED = [{"query_id": "q002"}, {"query_id": "q000"}]
LISTS = [["d004", "d000"], ["d003", "d004", "d001"]]


@pytest.mark.parametrize("shards", [2, 5, 8])
def test_the_number_of_shards_decides_nothing(grader, shards):
    for one, other in zip(grader().score(ASKED, LISTS), grader(shards).score(ASKED, LISTS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_an_encoder_it_is_the_student(grader):
    for one, other in zip(grader(encoder=None).score(ASKED, LISTS), grader().score(ASKED, LISTS), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_document_that_is_not_in_the_corpus_has_no_score(grader):
    found = grader().score(ASKED, [["d004", "written", "d000"], []])
    assert np.isnan(found[0]).tolist() == [False, True, False]
    assert len(found[1]) == 0


def test_another_similarity_has_to_be_chosen(grader, folder, tmp_path):
    import sentence_transformers

    own = sentence_transformers.SentenceTransformer(str(folder), device="cpu", similarity_fn_name="manhattan")
    own.save(str(tmp_path / "own"))
    with pytest.raises(ConfigError, match=r"has similarity manhattan; .* set the encoder's normalize"):
        grader(encoder=Pretrained(str(tmp_path / "own"), max_length=30))
    assert grader(encoder=Pretrained(str(tmp_path / "own"), max_length=30, normalize=False)).score(ASKED, LISTS)
