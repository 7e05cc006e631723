"""A config contains values as written, whatever YAML 1.1 would make of them.

PyYAML's own ``safe_load`` follows YAML 1.1: it is the reader that ``config.yaml`` must come through unchanged too.
"""

import json
import random

import pytest
import yaml as pyyaml

from gradret.commands.tune import _override
from gradret.config.evaluation import load_evaluation
from gradret.config.experiments import Dimension
from gradret.config.loading import load, override, parse, to_yaml
from gradret.config.written import one_line, read, read_setting
from gradret.errors import ConfigError

TEXTS = [
    "2024_11_29", "0123456", "12:30", "1:30:45", "1.10", "1.0", "007", "1e3", "1_000", "0x1F", "0o17", "0b11", "+1",
    "-0", ".5", "5.", ".inf", ".nan", "nan", "no", "No", "on", "OFF", "yes", "y", "true", "True", "2024-11-29", "=",
    "é", "名", "12345678901234567890123",
]  # fmt: skip
PATHS = [*TEXTS, "a b", "a#b", "/data/1.10", "$HOME", "a$b", "{x}x", "C:\\new", "!x", "&x", "*x", "%x", "@x", "`x"]


def run_file(folder, text):
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


NAME = "name: %s\ndataset: {name: beir, path: d}\n"
EVERYWHERE = """name: {0}
storage_path: {0}
dataset:
  name: beir
  path: {0}
evaluate:
  measures: [nDCG@10, MAP]
compare:
  recipes:
    {0}: [name={1}]
    other: []
tune:
  space:
    - {{key: train.encoder.model, values: [{0}, b]}}
"""
SYSTEM = """name: {0}
datasets:
  {0}: {{name: beir, path: {0}}}
systems:
  {0}: {{model: {0}}}
"""
WRITE = {"plain": str, "double": json.dumps, "single": "'{}'".format}


def texts_of(config):
    recipe, settings = next(iter(config.compare.recipes.items()))
    value = config.tune.space[0].values[0]
    return {config.name, config.storage_path, config.dataset.path, recipe, settings[0].removeprefix("name="), value}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_in_a_file_stays_what_is_written(text, tmp_path):
    for write in WRITE.values():
        config = load(run_file(tmp_path, EVERYWHERE.format(write(text), text)))
        assert texts_of(config) == {text}
        assert override(config, config.compare.recipes[text]).name == text
    written = to_yaml(config)
    assert load(run_file(tmp_path, written)) == config
    tree = pyyaml.safe_load(written)
    assert {tree["name"], tree["storage_path"], tree["dataset"]["path"], *tree["compare"]["recipes"]} == {text, "other"}


@pytest.mark.parametrize("text", ["2024_11_29", "010", "1.10", "no", "12:30"])
def test_names_of_an_evaluation_stay_what_is_written(text, tmp_path):
    found = load_evaluation(run_file(tmp_path, SYSTEM.format(text)))
    system, dataset = found.systems[text], found.datasets[text]
    assert {found.name, system.model, dataset.path, *found.systems, *found.datasets} == {text}
    assert load_evaluation(run_file(tmp_path, to_yaml(found))) == found


@pytest.mark.parametrize("text", PATHS)
def test_a_text_after_a_key_stays_what_is_written(text, tmp_path):
    path = run_file(tmp_path, NAME % "x")
    for written in [*([text] if text[0] not in "{['\"" else []), json.dumps(text)]:
        keys = ["dataset.path", "storage_path", "train.encoder.model"]
        config = load(path, [f"{key}={written}" for key in keys])
        assert (config.dataset.path, config.storage_path, config.train.encoder.model) == (text,) * 3


def test_an_override_keeps_blanks_comments_and_colons(tmp_path):
    path = run_file(tmp_path, NAME % "t")
    for text in ["query: ", " x ", "a # b", "a, b", "a: b: c", "- a", "a\nb", "", "~x", "x'y\"z"]:
        assert (
            load(path, ["train.encoder=transformer", f"train.encoder.query_prompt={text}"]).train.encoder.query_prompt
            == text
        )


def test_a_text_that_may_be_null(tmp_path):
    path = run_file(tmp_path, NAME % "t" + "train: {encoder: {name: transformer, query_prompt: ~}}\n")
    assert load(path).train.encoder.query_prompt is None
    for text, value in {"null": None, "~": None, "'null'": "null", '"~"': "~", "none": "none"}.items():
        assert load(path, [f"train.encoder.query_prompt={text}"]).train.encoder.query_prompt == value


def test_names_in_lists_and_keys_of_mappings(tmp_path):
    engine = (
        "{name: vllm, model: m, engine_kwargs: {no: 1, 010: 2}, resources: {environment: {A: 010, B: no, C: 1.10}}}"
    )
    config = load(
        run_file(tmp_path, NAME % "t" + f"generate: {{generator: {{name: llm_queries, engine: {engine}}}}}\n")
    )
    made = config.generate.generator.engine
    assert made.engine_kwargs == {"no": 1, "010": 2}
    assert made.resources.environment == {"A": "010", "B": "no", "C": "1.10"}
    assert load(run_file(tmp_path, to_yaml(config))) == config
    with pytest.raises(ConfigError, match=r"train\.loss\[0\]\.name: 'no' is not one of the losses"):
        load(run_file(tmp_path, NAME % "t"), ["train.loss=[no]"])


NUMBERS = {
    "train.batch_size": (
        {"8": 8, "+8": 8, "'8'": 8, "128": 128},
        ["010", "1:30", "1_000", "0x1F", "0o17", "1.0", "1e3", "\u0663", "\uff18", "", " 8", "8 ", "8 # eight", "nan",
         "true", "no", "9223372036854775808", "~", "null", "[8]", "1" * 5000],
    ),
    "seed": ({"0": 0}, ["1:30", "010", "???"]),
    "train.learning_rate": (
        {"1e-3": 0.001, "5.0e-4": 0.0005, ".5": 0.5, "1.": 1.0, "3": 3.0, "1E-2": 0.01},
        ["1:30.5", "1_0.5", "01.5", "0x1p3", "nan", ".inf", ".nan", "inf", "1e999", "1.0.0", "\u0661", "fast"],
    ),
    "select.unique": (
        {"true": True, "True": True, "FALSE": False, "'true'": True},
        ["yes", "no", "on", "off", "y", "n", "1", "0", "", "null", "tRue"],
    ),
    "train.seed": ({"3": 3, "null": None, "~": None}, ["010", "", "none"]),
}  # fmt: skip


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_is_a_plain_decimal_or_is_refused(key, tmp_path):
    path = run_file(tmp_path, NAME % "t")
    block, _, name = key.rpartition(".")
    accepted, refused = NUMBERS[key]

    def ways(text):
        yield lambda: load(path, [f"{key}={text}"])
        inner = f"{name}: {text}"
        if text.strip() == text and "#" not in text and text != "":
            yield lambda: load(run_file(tmp_path, NAME % "t" + (f"{block}: {{{inner}}}\n" if block else f"{inner}\n")))

    for text, value in accepted.items():
        for way in ways(text):
            config = way()
            got = getattr(getattr(config, block) if block else config, name)
            assert (got, type(got)) == (value, type(value)), text
    for text in refused:
        for way in ways(text):
            with pytest.raises(ConfigError, match=rf"  {key}: "):
                way()


def test_options_without_a_type_are_what_they_look_like(tmp_path):
    path = run_file(tmp_path, NAME % "t")
    engine = "generate.generator={name: llm_queries, engine: {name: vllm, model: m, engine_kwargs: {a: %s}}}"
    wanted = {
        "1": 1, "1e6": 1e6, "1.10": 1.1, "true": True, "null": None, "~": None, "no": "no", "010": "010", "'1'": "1",
        '"true"': "true", "[1, 'a', {b: 2.5}]": [1, "a", {"b": 2.5}], "12:30": "12:30", "1_000": "1_000",
    }  # fmt: skip
    for text, value in wanted.items():
        config = load(path, [engine % text])
        got = config.generate.generator.engine.engine_kwargs["a"]
        assert (got, type(got)) == (value, type(value)), text
        assert load(run_file(tmp_path, to_yaml(config))) == config
        run_file(tmp_path, NAME % "t")


def test_any_text_survives_config_yaml_and_overrides(tmp_path):
    draw = random.Random(0)
    pieces = [*"0123456789_-+.:eE~'\"\\ ${}[]#,&*!|>%@`=?\n\té", "${", "\\${", "null", "no", "true", "<<", "0x", "???x"]
    texts = ["".join(draw.choice(pieces) for _ in range(draw.randint(0, 7))) for _ in range(1000)]
    engine = {
        "name": "vllm",
        "model": "m",
        "engine_kwargs": {"a": texts},
        "chat_template_kwargs": dict.fromkeys(texts, 1),
    }
    tree = {"name": "t", "dataset": "pydocs", "generate": {"generator": {"name": "llm_queries", "engine": engine}}}
    config = override(parse(tree), ["seed=1"])
    made = config.generate.generator.engine
    assert made.engine_kwargs["a"] == texts
    assert list(made.chat_template_kwargs) == list(dict.fromkeys(texts))
    assert load(run_file(tmp_path, to_yaml(config))) == config


def test_what_is_searched_is_set_as_it_is_written(tmp_path):
    values = "[010, 1.10, no, null, 1e-3, [a, '1', null], {name: kl, weight: 2.0}, '[x]']"
    config = load(run_file(tmp_path, NAME % "t" + f"tune: {{space: [{{key: train.x, values: {values}}}]}}\n"))
    (dimension,) = config.tune.space
    assert dimension.values == (
        "010", "1.10", "no", "null", "1e-3", '[a, "1", null]', "{name: kl, weight: 2.0}", "[x]",
    )  # fmt: skip
    assert load(run_file(tmp_path, to_yaml(config))) == config
    assert _override("train.x", dimension.values[1]) == "train.x=1.10"
    assert _override("train.x", 1e-5) == "train.x=1e-05"
    assert Dimension("train.x", values=("a",)).values == ("a",)


@pytest.mark.parametrize("value", ["null", "[a, '1', {b: 010, c: \"x: y\"}]", "{a: [], b: null, c: '#'}", "é: x"])
def test_one_line_reads_back(value):
    node = read(f"- {value}")[0]
    assert read_setting(one_line(node)) == node


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!binary aGk=", "tags such as tag:yaml.org,2002:binary are not supported"),
        ("a: !!python/object:os.system {}", "are not supported"),
        ("[a]: 1", "a key must be text"),
        ("a: 1\na: 2", "duplicate key 'a'"),
        ("a: &x [*x]", "recursive"),
        ("a: " + "[" * 1000, "nested too deeply"),
        ("a: " + "[" * 300 + "]" * 300, "nested too deeply"),
        ("a: " + "{b: " * 40 + "}" * 40, "nested too deeply"),
        ("a: [b\nc: d", "line 2, column 2: while parsing a flow sequence, expected ',' or ']', but got ':'"),
        ("--- a: 1\n--- b: 2\n", ""),
    ],
)
def test_yaml_that_is_refused(text, said, tmp_path):
    with pytest.raises(ConfigError, match="is not valid YAML") as caught:
        load(run_file(tmp_path, text))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_anchors_and_merges(tmp_path):
    text = NAME % "t" + "mine: {resources: &w {actors: 3}}\nlabel: {resources: {<<: *w, gpus: 0.5}}\n"
    config = load(run_file(tmp_path, text))
    assert (config.label.resources.actors, config.label.resources.gpus) == (3, 0.5)
