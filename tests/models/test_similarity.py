"""Inner products rank as the model's own similarity does; sentence-transformers computes the similarity."""

import json

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from gradret.encoders.pretrained import Pretrained
from gradret.errors import ConfigError
from gradret.models.similarity import similarity

from ..stages import tiny

QUERIES = ["bal dim", "kun"]
DOCS = ["bal", "dim dim kun gor", "kun lin bal", " ".join(tiny.WORDS[:12]), "gor"]


@pytest.fixture
def save(tmp_path):
    """Writes a model with these settings; with ``unit`` its last layer is a normalisation."""
    made = tiny.model(tmp_path, "transformer").path / "model"

    def write(*, unit, **settings):
        modules = list(SentenceTransformer(str(made), device="cpu"))[:2]
        modules += [Normalize()] if unit else []
        model = SentenceTransformer(modules=modules, device="cpu", **settings)
        model.save(str(tmp_path / "source"), create_model_card=False)
        return model, tmp_path / "source"

    return write


def built(source, folder, **fields):
    Pretrained(model=str(source), precision="float32", **fields).build(None, None, folder)
    return SentenceTransformer(str(folder), device="cpu")


@pytest.mark.parametrize("length", [None, 5, 99])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("name", ["cosine", "dot"])
def test_inner_products_are_the_models_own_similarity(save, tmp_path, name, unit, length):
    given, source = save(unit=unit, similarity_fn_name=name, truncate_dim=length)
    want = given.similarity(given.encode(QUERIES), given.encode(DOCS)).numpy()
    model = built(source, tmp_path / "built")
    assert model.get_embedding_dimension() == min(length or 16, 16)
    np.testing.assert_allclose(model.encode(QUERIES) @ model.encode(DOCS).T, want, atol=1e-5)
    np.testing.assert_allclose(model.similarity(model.encode(QUERIES), model.encode(DOCS)), want, atol=1e-5)


@pytest.mark.parametrize("name", ["euclidean", "manhattan"])
def test_another_similarity_is_refused(save, tmp_path, name):
    given, source = save(unit=False, similarity_fn_name=name)
    with pytest.raises(ConfigError, match=f"{source} has similarity {name}; .*normalize to true"):
        built(source, tmp_path / "built")
    cosine, dot = (built(source, tmp_path / str(choice), normalize=choice).encode(DOCS) for choice in (True, False))
    rows = given.encode(DOCS)
    np.testing.assert_allclose(dot, rows, atol=1e-6)
    np.testing.assert_allclose(cosine, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(("text", "why"), [("{", "cannot be read"), ("[1]", "cannot be read")])
def test_settings_that_cannot_be_read(tmp_path, text, why):
    (tmp_path / "config_sentence_transformers.json").write_text(text)
    with pytest.raises(ConfigError, match=f"config_sentence_transformers.json {why}"):
        similarity(tmp_path)


def test_a_model_of_another_kind_is_refused(tmp_path):
    CrossEncoder(str(tiny.plain(tmp_path / "plain", "bert")), device="cpu", num_labels=1).save(str(tmp_path / "source"))
    with pytest.raises(ConfigError, match=f"{tmp_path / 'source'} is a CrossEncoder; expected a SentenceTransformer"):
        built(tmp_path / "source", tmp_path / "built")
    settings = tmp_path / "source" / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"model_type": "SparseEncoder", "similarity_fn_name": "dot"}))
    with pytest.raises(ConfigError, match="is a SparseEncoder"):
        similarity(tmp_path / "source")
