"""Which models are accepted as cross-encoders."""

import hashlib
import json
import re

import numpy as np
import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.errors import ConfigError
from gradret.teachers.cross_encoder import CrossEncoder

from ..stages import tiny
from . import tiny_models

PAIRS = [("bal dim", "bal gom kun"), ("bal", ""), ("", ""), ("kun", "dim " * 200)]


@pytest.fixture
def prepare(tmp_path):
    config = Config(name="toy", dataset=Pydocs(), storage_path=str(tmp_path / "storage"))
    return lambda teacher: teacher.prepare(config, None, None)["model"]


def test_what_is_known_of_the_model(prepare, tmp_path):
    folder = tiny_models.bert(tmp_path / "bert")
    made = prepare(CrossEncoder(str(folder)))
    assert made.manifest["notes"] == {"max_length": 64, "activation": "logit"}
    assert prepare(CrossEncoder(str(folder), max_length=9)).manifest["notes"]["max_length"] == 9
    # Not run again, but for a folder that has changed.
    assert prepare(CrossEncoder(str(folder))).fingerprint == made.fingerprint
    (folder / "more.txt").write_text("more")
    assert prepare(CrossEncoder(str(folder))).fingerprint != made.fingerprint


@pytest.mark.parametrize("named", ["torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity"])
def test_the_folders_activation_does_not_count(tmp_path, named):
    plain = CrossEncoder(str(tiny_models.bert(tmp_path / "plain"))).load({}).score_pairs(PAIRS)
    folder = tiny_models.bert(tmp_path / "own", sentence_transformers={"activation_fn": named, "version": "6.0.0"})
    np.testing.assert_array_equal(CrossEncoder(str(folder)).load({}).score_pairs(PAIRS), plain)
    sigmoid = CrossEncoder(str(folder), activation="sigmoid").load({}).score_pairs(PAIRS)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-plain.astype(np.float64))), atol=1e-6)
    assert plain.min() < 0 or plain.max() > 1


def test_a_score_does_not_depend_on_the_batch_where_the_tokenizer_pads_on_the_left(tmp_path):
    folder = tiny_models.bert(tmp_path / "bert")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"padding_side": "left"}))
    teacher = CrossEncoder(str(folder)).load({})
    pairs = [("bal", "dim"), ("bal dim kun", " ".join(tiny.WORDS[:30]))]
    alone = np.concatenate([teacher.score_pairs([pair]) for pair in pairs])
    np.testing.assert_allclose(teacher.score_pairs(pairs), alone, atol=1e-5)


def test_roberta_reads_as_far_as_its_positions_go(tmp_path, prepare):
    folder = tiny_models.roberta(tmp_path / "roberta")
    assert np.isfinite(CrossEncoder(str(folder)).load({}).score_pairs(PAIRS)).all()
    assert prepare(CrossEncoder(str(folder))).manifest["notes"]["max_length"] == 62
    with pytest.raises(ConfigError, match=r"max_length must be at most 62, .*, got 63"):
        prepare(CrossEncoder(str(folder), max_length=63))


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda folder: tiny_models.bert(folder, labels=3), "has 3 labels, expected 1"),
        (lambda folder: tiny.plain(folder, "bert"), "was saved as BertModel, not for sequence classification"),
        (tiny_models.decoder, "is a generative model; use the teacher decoder_reranker"),
        (lambda folder: folder, "not a local folder and could not be downloaded"),
    ],
)
def test_models_that_are_no_cross_encoder(prepare, tmp_path, monkeypatch, write, told):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=told):
        prepare(CrossEncoder(str(write(tmp_path / "model"))))


def test_a_damaged_folder(prepare, tmp_path):
    folder = tiny_models.bert(tmp_path / "bert")
    (folder / "config.json").write_text("{")
    with pytest.raises(
        ConfigError, match=rf"teacher cross_encoder: the model {re.escape(repr(str(folder)))} cannot be"
    ):
        prepare(CrossEncoder(str(folder)))


def test_weights_that_are_not_those_expected(prepare, tmp_path):
    folder = tiny_models.bert(tmp_path / "bert")
    right = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert prepare(CrossEncoder(str(folder), sha256=right))
    with pytest.raises(ConfigError, match=rf"has sha256 {right}, expected 00"):
        prepare(CrossEncoder(str(folder), sha256="00"))


@pytest.mark.parametrize("length", [0, -1])
def test_settings_that_cannot_be(length):
    with pytest.raises(ValueError, match=r"^max_length must be at least 1, or null, got"):
        CrossEncoder("some/model", max_length=length)
