import shutil

import pytest

from gradret.encoders.pretrained import Pretrained
from gradret.encoders.static import Static
from gradret.encoders.transformer import Transformer
from gradret.errors import ConfigError
from gradret.stages.base import base

from . import tiny


@pytest.fixture
def ingested(tmp_path):
    return tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(0, "bal")]]})


def test_a_model_that_is_not_there_is_a_wrong_config(settings, tmp_path, ingested):
    with pytest.raises(ConfigError, match="pip install no-such-model"):
        base(settings(), ingested, Pretrained(model="package:no-such-model"))


def test_another_model_in_the_same_folder_is_another_model(settings, tmp_path, ingested):
    folder = shutil.copytree(tiny.model(tmp_path, "transformer").path / "model", tmp_path / "model")
    encoder = Pretrained(model=str(folder))
    first = base(settings(), ingested, encoder)
    assert base(settings(), ingested, encoder) == first
    weights = next(folder.rglob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert base(settings(), ingested, encoder).fingerprint != first.fingerprint


def test_a_model_that_reads_no_documents_is_made_once_for_all_corpora(settings, tmp_path, ingested):
    other = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(1, "kun gor")]]})
    folder = str(tiny.model(tmp_path, "transformer").path / "model")
    for encoder in (Pretrained(model=folder), Transformer(model=folder, query_length=8, document_length=8)):
        assert base(settings(), ingested, encoder) == base(settings(), other, encoder)
    static = Static(model=folder, lexical=0)
    assert static.reads_docs
