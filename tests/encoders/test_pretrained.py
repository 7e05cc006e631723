import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from gradret.encoders.pretrained import Pretrained
from gradret.errors import ConfigError

from ..stages import tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny.model(tmp_path_factory.mktemp("source"), "transformer").path / "model"


@pytest.mark.parametrize(("wanted", "kept"), [(8, 8), (192, 16), (0, 16)])
def test_the_model_as_it_is_with_its_length(source, tmp_path, wanted, kept):
    encoder = Pretrained(model=str(source), max_length=wanted, precision="float32")
    assert encoder.build(None, None, tmp_path) == {"dimension": 16, "max_length": kept, "precision": "float32"}
    model, before = (SentenceTransformer(str(folder), device="cpu") for folder in (tmp_path, source))
    assert model.max_seq_length == kept
    short, long = "bal dim", " ".join(tiny.WORDS)
    np.testing.assert_allclose(model.encode([short]), before.encode([short]), atol=1e-6)
    before.max_seq_length = kept
    np.testing.assert_allclose(model.encode([long]), before.encode([long]), atol=1e-6)


def test_weights_are_held_to_their_hash(source, tmp_path):
    with pytest.raises(ConfigError, match="has sha256"):
        Pretrained(model=str(source), sha256="0" * 64).build(None, None, tmp_path)


def test_half_the_precision_gives_nearly_the_same_vectors(source, tmp_path):
    Pretrained(model=str(source), precision="bfloat16").build(None, None, tmp_path)
    model, before = (SentenceTransformer(str(folder), device="cpu") for folder in (tmp_path, source))
    texts = ["bal dim", "kun gor", ""]
    got, expected = model.encode(texts).astype(np.float32), before.encode(texts)
    assert 0 < np.abs(got - expected).max() < 0.05


def test_the_precision_that_is_chosen_enters_the_fingerprint():
    chosen = Pretrained(precision="auto").reads(None)["precision"]
    assert chosen in ("float32", "bfloat16")
    assert Pretrained(precision="bfloat16").reads(None) == {"precision": "bfloat16"}


@pytest.mark.parametrize(("similarity", "unit"), [("cosine", True), ("dot", False)])
def test_vectors_that_are_compared_by_cosine_get_length_1(source, tmp_path, similarity, unit):
    model = SentenceTransformer(str(source), device="cpu")
    plain = SentenceTransformer(modules=list(model)[:2], similarity_fn_name=similarity, device="cpu")
    assert [type(module).__name__ for module in plain] == ["Transformer", "Pooling"]
    plain.save(str(tmp_path / "plain"))
    Pretrained(model=str(tmp_path / "plain"), precision="float32").build(None, None, tmp_path / "built")
    built = SentenceTransformer(str(tmp_path / "built"), device="cpu")
    expected = plain.encode(["bal dim", "kun gor"])
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 0.01
    got = built.encode(["bal dim", "kun gor"])
    np.testing.assert_allclose(got, expected / lengths if unit else expected, atol=1e-6)


def test_the_cpu_multiplies_in_bfloat16_where_torch_says_so():
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert Pretrained(precision="auto").reads(None) == {"precision": "bfloat16" if native else "float32"}
