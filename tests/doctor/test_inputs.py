"""What the config names, with one thing wrong."""

import json

import pytest

from gradret.cli import main
from gradret.config.loading import override
from gradret.doctor.inputs import inputs


def texts(config, *overrides):
    return [finding.text for finding in inputs(override(config, overrides)) if finding.level == "fault"]


def test_nothing_is_wrong(beir, config):
    (finding,) = inputs(config(beir()))
    assert finding.level == "ok"


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["dataset.path=/nowhere"], "dataset beir: dataset.path: no folder at /nowhere"),
        (["label.teacher={name: cross_encoder, model: package:no-such-model}"], "the package is not installed"),
        (["train.encoder={name: transformer, model: TMP}"], "transformer TMP: "),
        (["label.teacher={name: judge, engine: {name: vllm, model: a/b}, template: TMP/no.jinja}"], "no.jinja' cannot"),
        (["generate.generator={name: llm_queries, engine: {name: openai, model: m}}"], "openai m: "),
    ],
)
def test_a_part_that_cannot_be_used(beir, config, tmp_path, monkeypatch, overrides, text):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    found = texts(config(beir()), *(each.replace("TMP", str(tmp_path)) for each in overrides))
    assert any(text.replace("TMP", str(tmp_path)) in each for each in found), found


def test_a_first_row_that_is_bad(beir, config):
    (text,) = texts(config(beir(docs=b"no JSON\n")))
    assert "corpus.jsonl, line 1: " in text


def test_a_name_that_another_config_has(beir, config, tmp_path):
    made = config(beir())
    folder = tmp_path / "storage" / "runs" / "toy"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: toy\nseed: 7\n")
    (text,) = texts(made)
    assert "holds the results of another config" in text


@pytest.mark.usefixtures("ray_session")
def test_a_dry_run_computes_nothing(beir, tmp_path, capsys):
    path = tmp_path / "c.yaml"
    dataset = {"name": "beir", "path": str(beir())}
    path.write_text(json.dumps({"name": "toy", "storage_path": str(tmp_path / "storage"), "dataset": dataset}))
    assert main(["run", str(path), "--dry-run"]) == 0
    assert "ok       config: " in capsys.readouterr().out
    assert list((tmp_path / "storage").iterdir()) == []
    assert main(["run", str(path), "--dry-run", "dataset.path=/nowhere"]) == 1
    assert "fault    config: dataset beir: dataset.path: no folder at /nowhere" in capsys.readouterr().out
