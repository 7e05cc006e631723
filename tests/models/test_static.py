"""Static models in numpy against sentence-transformers."""

import json
import shutil

import numpy as np
import pytest

from gradret.models.static import read_static

from ..stages import tiny

TEXTS = ["bal dim kun", "", "nothing known \u65e5\u672c", "bal " * 500, "Bal, dim!"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.model(tmp_path_factory.mktemp("models"), "static").path / "model"


def test_vectors_are_those_of_sentence_transformers(folder):
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(folder), device="cpu").encode_query(TEXTS)
    vectors = read_static(folder).encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.linalg.norm(expected, axis=1), atol=1e-6)


def test_other_models_are_left_to_torch(folder, tmp_path):
    transformer = tiny.model(tmp_path, "transformer").path / "model"
    assert read_static(transformer) is None
    assert read_static(tmp_path) is None
    prompted = shutil.copytree(folder, tmp_path / "prompted")
    settings = json.loads((prompted / "config_sentence_transformers.json").read_text())
    settings["prompts"] = {"query": "query: "}
    (prompted / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert read_static(prompted) is None


@pytest.mark.parametrize(("text", "known"), [("bal", True), ("\u65e5 bal", True), ("\u65e5\u672c", False), ("", False)])
def test_a_text_is_known_by_any_token(folder, text, known):
    assert read_static(folder).knows(text) is known
