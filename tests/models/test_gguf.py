"""A GGUF file as a model. The oracle is the model of transformers whose weights the gguf package wrote."""

import shutil

import pytest

from gradret.engines import Prompt, Sampling
from gradret.engines.vllm import Vllm, VllmResources
from gradret.errors import ConfigError
from gradret.models.license import stated_license
from gradret.models.locate import content, locate, on_hub

from . import tiny_gguf


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file, the model that is in it, and its tokenizer."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.GGUF"
    return path, *tiny_gguf.write(path)


def test_weights_tokens_and_template_are_those_of_the_file(written, cache, capfd):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path, model, tokenizer = written
    folder = locate(str(path))
    found, wanted = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict(), model.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    converted = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "the wing über 翼"}], tokenize=False)
    assert converted.chat_template == tokenizer.chat_template
    assert converted(text)["input_ids"] == tokenizer(text)["input_ids"]
    said = capfd.readouterr().err.splitlines()
    assert said[0] == f"  model {path}: converts 0 MB of GGUF once, to {folder}"


def test_a_file_is_converted_once_for_each_content(written, cache, tmp_path, capfd):
    path = shutil.copy(written[0], tmp_path / "a.gguf")
    first = locate(str(path))
    moved = path.rename(tmp_path / "b.gguf")
    assert locate(str(moved)) == first
    assert capfd.readouterr().err.count("converts") == 1
    assert content(str(moved))
    before = content(str(moved))
    tiny_gguf.write(moved, seed=1)
    assert locate(str(moved)) != first
    assert content(str(moved)) != before
    assert len(list((cache / "gradret" / "gguf").iterdir())) == 2


def test_an_engine_writes_prompts_with_the_files_tokens_and_names_the_folder(written, cache):
    path, _, tokenizer = written
    engine = Vllm(model=str(path), resources=VllmResources(cpus=1))
    prompt = Prompt("p", "Be short.", lambda texts: texts[0], ("the wing",), Sampling(20))
    row = engine.load()(prompt, 0)
    assert tokenizer.decode(row["tokenized_prompt"]) == "<|system|>Be short.</s><|user|>the wing</s><|assistant|>"
    assert row["eos_ids"] == [tokenizer.eos_token_id]
    assert engine.source == str(locate(str(path)))


def test_the_license_is_the_files(written, cache, tmp_path):
    assert stated_license(str(written[0])) == "license apache-2.0 (from its file)"
    tiny_gguf.write(tmp_path / "x.gguf", license="")
    assert stated_license(str(tmp_path / "x.gguf")) == "no license stated"


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"GGUF" * 9, lambda data: data[:-5000]])
def test_a_damaged_file_is_told_and_leaves_nothing(written, cache, tmp_path, damage):
    (tmp_path / "x.gguf").write_bytes(damage(written[0].read_bytes()))
    with pytest.raises(ConfigError, match=r"model .*x\.gguf: cannot convert it from GGUF: "):
        locate(str(tmp_path / "x.gguf"))
    assert not list((cache / "gradret" / "gguf").iterdir())


def test_a_missing_file(cache, tmp_path):
    for reference in (str(tmp_path / "x.gguf"), "x.gguf", "owner/x.gguf"):
        with pytest.raises(ConfigError, match="there is no such file"):
            locate(reference)


def test_a_file_of_the_hub(written, cache, monkeypatch):
    asked = []

    def _download(repository, name):
        asked.append((repository, name))
        return str(written[0])

    monkeypatch.setattr("huggingface_hub.hf_hub_download", _download)
    assert on_hub("owner/name/sub/x.gguf")
    assert locate("owner/name/sub/x.gguf") == locate(str(written[0]))
    assert asked == [("owner/name", "sub/x.gguf")]
