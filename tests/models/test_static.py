"""Static models in numpy against sentence-transformers."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gradret.models.static import StaticModel, read_static, write_static
from gradret.stages.encode import encode_texts, load_model

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


def test_vectors_of_torch_are_those_of_sentence_transformers_bit_by_bit(folder):
    from sentence_transformers import SentenceTransformer

    model = load_model(folder)
    assert isinstance(model, StaticModel)
    theirs = SentenceTransformer(str(folder), device="cpu").encode_document(TEXTS)
    np.testing.assert_array_equal(encode_texts(model, TEXTS, "docs"), theirs)


def test_a_model_with_other_weights_is_what_sentence_transformers_would_write(folder, tmp_path):
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(folder), device="cpu")
    theirs[0].embedding.weight.data[[2, 5]] *= 3
    theirs.save(str(tmp_path / "theirs"), create_model_card=False)
    write_static(tmp_path / "ours", folder, theirs[0].embedding.weight.data)
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LIGHT = """
import sys
from pathlib import Path
from gradret.encoders.static import Static
from gradret.stages.encode import encode_texts, load_model
folder = Path(sys.argv[1])
assert encode_texts(load_model(folder), ["bal"], "docs").shape == (1, 12)
Static().student(folder).save(folder.parent / "saved")
assert "torch" in sys.modules and "sentence_transformers" not in sys.modules
"""


def test_a_worker_that_encodes_or_trains_never_imports_sentence_transformers(folder):
    subprocess.run([sys.executable, "-c", LIGHT, str(folder)], check=True)


def test_other_models_are_left_to_sentence_transformers(folder, tmp_path):
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
