"""Errors of RankT5 and monoT5."""

import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.errors import ConfigError
from gradret.teachers.mono_t5 import MonoT5
from gradret.teachers.rank_t5 import RankT5

from . import tiny_models


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return str(tiny_models.t5(tmp_path_factory.mktemp("models") / "t5"))


@pytest.fixture
def prepare(tmp_path):
    config = Config(name="toy", dataset=Pydocs(), storage_path=str(tmp_path / "storage"))
    return lambda teacher: teacher.prepare(config, None, None)["model"]


def test_the_tokens_are_those_of_the_tokenizer(prepare, t5):
    # Three special tokens, then Query:, Document:, Relevant:, true and false.
    assert prepare(MonoT5(t5)).manifest["notes"] == {"true": 6, "false": 7}
    assert prepare(RankT5(t5)).manifest["notes"] == {"token": 8 + len(tiny_models.WORDS) + 10}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda model: RankT5(model, token="<extra_id_99>"), "token='<extra_id_99>' is not a token of"),
        (lambda model: MonoT5(model, true="yes"), "true='yes' is not a token of"),
        (lambda model: MonoT5(model, false="▁no"), "false='▁no' is not a token of"),
    ],
)
def test_a_token_that_the_tokenizer_lacks(prepare, t5, make, told):
    with pytest.raises(ConfigError, match=told):
        prepare(make(t5))


@pytest.mark.parametrize("teacher", [RankT5, MonoT5])
def test_a_model_without_a_decoder_of_its_own(prepare, tmp_path, teacher):
    folder = tiny_models.decoder(tmp_path / "qwen3")
    with pytest.raises(ConfigError, match="is a qwen3, not an encoder-decoder"):
        prepare(teacher(str(folder)))


@pytest.mark.parametrize("teacher", [RankT5, MonoT5])
def test_settings_that_cannot_be(teacher):
    with pytest.raises(ValueError, match=r"max_length: must be at least 1, got 0"):
        teacher("some/model", max_length=0)


def test_one_token_for_both_answers():
    with pytest.raises(ValueError, match=r"^true and false must be different tokens, got 'a' for both"):
        MonoT5("some/model", true="a", false="a")
