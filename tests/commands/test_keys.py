"""``gradret show CONFIG-KEY``: every key, with its type, default and meaning."""

import json

import pytest
import yaml

from gradret.cli import main
from gradret.commands.keys import keys, keys_below
from gradret.config.loading import parse, to_yaml


def flat(node, key=""):
    """Every key of a resolved config; a component counts as one."""
    if isinstance(node, dict) and node and "name" not in node:
        return [found for name, value in node.items() for found in flat(value, f"{key}.{name}" if key else name)]
    return [key]


def test_every_key_of_a_resolved_config_is_described():
    tree = yaml.safe_load(to_yaml(parse({"name": "toy", "dataset": {"name": "pydocs"}})))
    top = {name: value for name, value in tree.items() if name != "name"}
    assert {each.key for each in keys()} - {"name"} == set(flat(top))


def test_every_key_has_a_meaning_and_a_type():
    assert [each.key for each in keys() if not each.doc or not each.type] == []


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        (
            "train.accumulate",
            ["train.accumulate: int = 1", "Batches per optimizer step; their gradients are averaged."],
        ),
        ("name", ["name: str (required)", "Name of the run, and of its folder ``STORAGE/runs/NAME``."]),
    ],
)
def test_a_key(key, lines, capsys):
    assert main(["show", key]) == 0
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == lines


def test_a_block_has_a_line_for_each_of_its_keys(capsys):
    assert main(["show", "ingest"]) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()] == [
        ["ingest.max_words", "=", "512"],
        ["ingest.max_bad_share", "=", "0.1"],
    ]


def test_a_component_names_its_choices_and_its_keys_are_those_of_the_choices(capsys):
    assert main(["show", "train.encoder"]) == 0
    assert "encoders: pretrained, static, transformer; gradret show encoders" in capsys.readouterr().out
    assert {each.of for each in keys_below("train.encoder.model")} == {
        "encoders pretrained",
        "encoders static",
        "encoders transformer",
    }
    assert [each.of for each in keys_below("train.loss[0].teacher_temperature")] == ["losses kl", "losses listnet"]
    assert main(["show", "train.loss[0].teacher_temperature", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)[0]
    assert (shown["key"], shown["default"]) == ("train.loss.teacher_temperature", 0.15)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train.lerning_rate", "train.learning_rate"),
        ("trian.epochs", "train.epochs"),
        ("lable", "label"),
        ("loses", "losses"),
        ("train.encoder.modle", "train.encoder.model"),
        ("train.loss[1].teacher_temprature", "train.loss.teacher_temperature"),
    ],
)
def test_a_key_that_does_not_exist_has_a_near_name(key, near, capsys):
    assert main(["show", key]) == 2
    said = f"gradret: '{key}' is not a kind of component or a config key; did you mean '{near}'?\n"
    assert capsys.readouterr().err == said
