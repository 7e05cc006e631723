"""Every kind of config error, and a YAML round trip of a valid config."""

import dataclasses
import os
import pickle
import subprocess
import sys
import warnings

import pytest

import gradret
from gradret.config.loading import load, override, parse, to_yaml
from gradret.config.resources import Workers
from gradret.config.run import Config, Evaluate, Index, Search
from gradret.config.select import Rule, Select
from gradret.config.train import Train
from gradret.errors import ConfigError

SMALL = {"name": "toy", "dataset": {"name": "pydocs"}}


def small(**blocks):
    return SMALL | blocks


def problems(tree):
    with pytest.raises(ConfigError) as caught:
        parse(tree)
    return list(caught.value.problems)


@pytest.fixture
def yaml(tmp_path):
    def write(text="name: toy\ndataset: {name: pydocs}\n"):
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    return str(caught.value)


# Right configs


def test_defaults_come_before_yaml_before_command_line(yaml):
    path = yaml("name: toy\ndataset: {name: pydocs}\ntrain: {epochs: 7, patience: 3}\n")
    config = load(path, ["train.epochs=9"])
    assert (config.train.epochs, config.train.patience, config.train.batch_size) == (9, 3, Train().batch_size)


def test_overrides_apply_in_order(yaml):
    assert load(yaml(), ["train.epochs=2", "train.epochs=3"]).train.epochs == 3


def test_defaults_are_those_of_a_config_built_in_python(yaml):
    loaded = load(yaml())
    built = Config(name="toy", dataset=loaded.dataset)
    assert {f.name for f in dataclasses.fields(Config) if getattr(loaded, f.name) != getattr(built, f.name)} == {
        "generate", "mine", "check", "label", "train", "train_teacher",
        # which hold components, whose defaults only a loaded config has
    }  # fmt: skip
    assert loaded.search.resources == load(yaml(), ["search.resources={}"]).search.resources == Search().resources
    assert load(yaml(), ["search.resources.gpus=1"]).search.resources == Workers(actors=0, gpus=1.0)


def test_an_override_reaches_into_a_list_that_only_the_defaults_hold(yaml):
    before, after = load(yaml()).train.loss, load(yaml(), ["train.loss[1].weight=0.2"]).train.loss
    assert after == (before[0], dataclasses.replace(before[1], weight=0.2))


def test_an_override_reaches_into_a_component_inside_a_component(yaml):
    config = load(yaml(), ["mine.retrievers[1].teacher.dense_weight=0.25"])
    assert config.mine.retrievers[1].teacher.dense_weight == 0.25


def test_a_list_is_replaced_by_an_override(yaml):
    config = load(yaml(), ["train.loss=[{name: kl, weight: 2}]", "evaluate.measures=[nDCG@5,MAP]"])
    assert [loss.weight for loss in config.train.loss] == [2.0]
    assert config.evaluate.measures == ("nDCG@5", "MAP")


def test_a_component_is_replaced_whole_by_an_override(yaml):
    path = yaml("name: toy\ndataset: {name: beir, path: here}\n")
    assert load(path, ["dataset={name: pydocs}"]).dataset == load(yaml()).dataset


def test_an_override_sets_a_field_of_a_component_that_is_a_name_alone(yaml):
    config = load(
        yaml(), ["train.encoder=pretrained", "train.encoder.model=m", "train.loss=[kl]", "train.loss[0].weight=2"]
    )
    assert config.train.encoder == parse(small(train={"encoder": {"name": "pretrained", "model": "m"}})).train.encoder
    assert [(type(loss).__name__, loss.weight) for loss in config.train.loss] == [("KL", 2.0)]


def test_a_component_may_be_named_by_its_name_alone():
    assert parse(small(train={"loss": ["kl"], "encoder": "static"})) == parse(
        small(train={"loss": [{"name": "kl"}], "encoder": {"name": "static"}})
    )


def test_an_option_without_a_name_belongs_to_the_default_component():
    assert parse(small(generate={"generator": {"queries": 5}})).generate.generator.queries == 5


def test_numbers_are_taken_for_floats_and_names_without_a_warning(yaml):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = load(yaml(), ["train.learning_rate=1", "name=5", "train.epochs='3'"])
    assert (config.train.learning_rate, config.name, config.train.epochs) == (1.0, "5", 3)


def test_interpolation_is_resolved(yaml):
    assert load(yaml("name: toy\nstorage_path: /x/${name}\ndataset: {name: pydocs}\n")).storage_path == "/x/toy"


def test_a_config_is_read_back_from_its_yaml(yaml):
    config = load(yaml(), ["train.loss[0].weight=3", "evaluate.measures=[MAP]", "generate.resources.actors=2"])
    assert load(yaml(to_yaml(config))) == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_plain_mappings_are_a_config():
    assert parse(small()).name == "toy"


# Wrong keys


def test_all_errors_are_named_at_once(yaml):
    said = refused(
        yaml("name: a/b\ndataset: {name: pydoc}\ntrian: {epochs: 3}\nsearch: {k: many}\n"),
        "train.epoch=3", "train.epochs=0", "train.batch_size=x", "train.loss=[{name: infonse}]", "nonsense",
        "index.num_shards=0", "evaluate.measures=[bogus@10]",
    )  # fmt: skip
    assert said.startswith("the config has 11 errors:\n")
    for expected in [
        "'nonsense': expected key=value",
        "trian: 'trian' is not a key here; did you mean 'train'?",
        "name: must be the name of a folder, without slashes, got 'a/b'",
        "dataset.name: 'pydoc' is not one of the datasets; did you mean 'pydocs'?",
        "train.epoch: 'epoch' is not a key here; did you mean 'epochs'?",
        "train.epochs: must be at least 1, got 0",
        "train.batch_size: expected int, got 'x'",
        "train.loss[0].name: 'infonse' is not one of the losses; did you mean 'infonce'?",
        "search.k: expected int, got 'many'",
        "index.num_shards: must be at least 1, got 0",
        "evaluate.measures: 'bogus@10': 'bogus' is not a measure",
    ]:
        assert f"\n  {expected}" in said, expected


def test_a_key_without_a_near_name_lists_what_there_is():
    assert problems(small(index={"zzz": 1})) == [
        "index.zzz: 'zzz' is not a key here; known: factory, num_shards, resources"
    ]


def test_required_keys():
    assert problems({}) == ["name: is required", "dataset: is required, for example dataset.name=..."]


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({"train": 3}, "train: expected a mapping of keys, got 3"),
        ({"train": {"epochs": 1.5}}, "train.epochs: expected int, got 1.5"),
        ({"train": {"epochs": True}}, "train.epochs: expected int, got True"),
        ({"train": {"epochs": None}}, "train.epochs: expected int, got None"),
        ({"train": {"learning_rate": "fast"}}, "train.learning_rate: expected float, got 'fast'"),
        ({"train": {"learning_rate": float("inf")}}, "train.learning_rate: expected a finite number, got inf"),
        ({"index": {"factory": [1]}}, "index.factory: expected str, got [1]"),
        ({"evaluate": {"measures": "MAP"}}, "evaluate.measures: expected tuple[str, ...], got 'MAP'"),
        ({"train": {"loss": {"name": "kl"}}}, "train.loss: expected a list of components such as [{name: ...}], got {"),
        ({"train": {"loss": []}}, "train.loss: expected a list of components such as [{name: ...}], got []"),
        ({"train": {"loss": [{}]}}, "train.loss[0]: expected {name: ...} with the name of one of the losses, got {}"),
        ({"train": {"encoder": {"name": "static", "modle": 1}}}, "train.encoder.modle: 'modle' is not a key here; did"),
        ({"train": {"encoder": {"name": "no.such.module:Class"}}}, "train.encoder.name: no.such.module:Class cannot"),
        ({"train": {"encoder": {"name": "os:path"}}}, "train.encoder.name: os:path is not a dataclass"),
        ({"dataset": {"name": "beir"}}, "dataset.path: is required: a folder with corpus.jsonl"),
        ({"dataset": {"name": "pydocs", "split": "train"}}, "dataset.split: 'train' is not one of dev, test"),
        ({"dataset": {"name": "pydocs", "language": "klingon"}}, "dataset.language 'klingon' has no Snowball stemmer"),
        ({"evaluate": {"measures": ["nDCG@0"]}}, "evaluate.measures: 'nDCG@0': the cutoff must be a whole number"),
        ({"evaluate": {"measures": []}}, "evaluate.measures: must not be empty"),
    ],
)
def test_wrong_values(block, problem):
    (said,) = problems(small(**block))
    assert said.startswith(problem)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ingest.max_words", 0), ("ingest.max_bad_share", 1.5), ("ingest.max_bad_share", -0.1),
        ("dedupe.max_docs", 0), ("dedupe.min_chars", 0), ("dedupe.window", -1),
        ("generate.resources.actors", -1), ("mine.resources.gpus", -1), ("encode.resources.threads", -1),
        ("select.source_within", -1), ("select.low", 99.5), ("select.dev_share", 0), ("select.dev_share", 1),
        ("select.min_words", -1), ("select.max_words", -1), ("select.round_trip", -1), ("select.max_per_kind", -1),
        ("select.score_floor", -1), ("select.score_floor", 100), ("select.levels", 1),
        ("select.absolute_margin", -0.1), ("select.relative_margin", 1.1), ("select.thresholds", [1]),
        ("train.epochs", 0), ("train.batch_size", 0), ("train.learning_rate", 0), ("train.warmup", 2),
        ("train.floor", -1), ("train.list_length", 0), ("train.patience", 0),
        ("train.resources.num_workers", 0), ("train.resources.chunk_size", 0), ("train.resources.threads", -1),
        ("index.factory", " "), ("index.factory", "Falt"), ("index.num_shards", 0), ("index.resources.memory_gib", -1),
        ("search.k", 0), ("search.parameters", "nprobe"),
        ("storage_path", " "), ("storage_path", "s3://key:secret@bucket/x"), ("storage_path", "gs:/x"), ("seed", -1),
    ],
)  # fmt: skip
def test_values_out_of_range_name_their_key(key, value):
    first, *rest = key.split(".")
    node = value
    for part in reversed(rest):
        node = {part: node}
    (said,) = problems(small(**{first: node}))
    assert said.startswith(f"{key}: ")


# Rules of a mixture

MIXED = [{"origin": "bm25", "grade": 0.5, "limit": 2}, {"origin": "source", "grade": 1, "positive": True}]


def test_rules_and_thresholds_are_read_and_survive_yaml(yaml):
    path = yaml(to_yaml(parse(small(mine={"retrievers": ["source", "bm25"]}, select={"mix": MIXED}))))
    config = load(path, ["select.mix[0].limit=3", "select.grades=thresholds", "select.thresholds=[0.5,2]"])
    assert config.select.mix == (Rule("bm25", 0.5, None, 3), Rule("source", 1.0, positive=True))
    assert config.select.thresholds == (0.5, 2.0)
    assert load(yaml(to_yaml(config))) == config
    assert parse(small(select={"mix": None})).select.mix == ()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("bm25", ["select.mix: expected a list of mappings, got 'bm25'"]),
        (MIXED[0], [f"select.mix: expected a list of mappings, got {MIXED[0]}"]),
        ([3], ["select.mix[0]: expected a mapping of keys, got 3"]),
        (
            [{}, {"origin": "", "grade": 1.5, "limit": -1}, {"orgin": "bm25"}],
            [
                "select.mix[0].origin: is required",
                "select.mix[1].origin: must not be empty; name a retriever of mine.retrievers",
                "select.mix[1].grade: must be a share from 0 to 1, got 1.5",
                "select.mix[1].limit: must be at least 0, got -1",
                "select.mix[2].orgin: 'orgin' is not a key here; did you mean 'origin'?",
                "select.mix[2].origin: is required",
            ],
        ),
    ],
)
def test_rules_that_are_wrong(rules, said):
    assert problems(small(select={"mix": rules})) == said


def test_a_rule_must_name_what_mine_calls_a_retriever():
    retrievers = ["source", {"name": "bm25", "k": 5}, {"name": "ranks", "retriever": "bm25", "last": 20}]
    rules = [{"origin": "bm25.2"}, {"origin": "ranks"}, {"origin": "bm25.3"}]
    assert problems(small(mine={"retrievers": retrievers}, select={"mix": rules})) == [
        "select.mix[1].origin: 'ranks' is not one of mine.retrievers; known: source, bm25, bm25.2",
        "select.mix[2].origin: 'bm25.3' is not one of mine.retrievers; did you mean 'bm25.2'?",
    ]


@pytest.mark.parametrize(("name", "accepted"), [("Searching", True), ("Choosing", False), ("Silent", None)])
def test_a_retriever_of_ones_own_goes_by_what_it_declares(name, accepted):
    retrievers = [{"name": "source"}, {"name": f"tests.config.outside:{name}"}]
    tree = {"name": "toy", "dataset": "pydocs", "mine": {"retrievers": retrievers}, "select": {"round_trip": 5}}
    if accepted:
        assert parse(tree).select.round_trip == 5
        return
    wrong = (
        "does not declare k, last_rank, load" if accepted is None else "requires one of mine.retrievers that searches"
    )
    with pytest.raises(ConfigError, match=wrong):
        parse(tree)


def test_a_field_that_would_take_the_protocols_default():
    tree = {"name": "toy", "dataset": "pydocs", "mine": {"retrievers": [{"name": "tests.config.outside:Lost", "k": 3}]}}
    with pytest.raises(ConfigError, match="the field k has no default and would get"):
        parse(tree)


def test_a_round_trip_needs_a_retriever_that_searches():
    (said,) = problems(small(mine={"retrievers": ["source", "random", "random"]}, select={"round_trip": 20}))
    assert said == (
        "select.round_trip: requires one of mine.retrievers that searches, and there are only source, random, random.2"
    )
    assert parse(small(mine={"retrievers": ["source", "bm25"]}, select={"round_trip": 20})).select.round_trip == 20


@pytest.mark.parametrize("thresholds", [[], [1, 1], [2, 1]])
def test_thresholds_must_ascend_where_grades_are_by_thresholds(thresholds):
    (said,) = problems(small(select={"grades": "thresholds", "thresholds": thresholds}))
    assert said.startswith("select.thresholds: must be ascending scores if select.grades is thresholds")


def test_the_most_words_are_no_fewer_than_the_least():
    (said,) = problems(small(select={"min_words": 5, "max_words": 4}))
    assert said == "select.max_words: must be at least 5, got 4"


# Names


@pytest.mark.parametrize("name", ["", " ", "a/b", "/", "..", ".", "a\\b", " a", "a\n"])
def test_a_name_must_be_one_folder(name):
    (said,) = problems(small(name=name))
    assert said.startswith("name: must be the name of a folder")


@pytest.mark.parametrize("name", ["a", "scifact 2", "run.1", "..a", "é"])
def test_names_that_are_folders(name):
    assert parse(small(name=name)).name == name


@pytest.mark.parametrize(
    "make",
    [
        lambda: Train(epochs=0, batch_size=0),
        lambda: Index(num_shards=0),
        lambda: Search(k=0),
        lambda: Select(dev_share=1.0),
        lambda: Workers(actors=-1),
        lambda: Evaluate(measures=("bogus",)),
        lambda: Config(name="a/b", dataset=None),
    ],
)
def test_the_classes_check_too(make):
    with pytest.raises(ConfigError):
        make()


# Files and overrides


def test_a_missing_file(tmp_path):
    assert refused(tmp_path / "no.yaml") == f"no config file at {tmp_path / 'no.yaml'}"


def test_a_folder_in_place_of_a_file(tmp_path):
    assert "cannot be read" in refused(tmp_path)


def test_a_file_that_is_not_utf8(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"name: caf\xe9\n")
    assert "cannot be read" in refused(tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["name: [", "a: b: c", "\tname: x", "name: a\nname: b\n"])
def test_invalid_yaml(yaml, text):
    assert "is not valid YAML" in refused(yaml(text))


@pytest.mark.parametrize(
    "text",
    ["- a\n- b\n", "3", "words"],
)
def test_yaml_that_is_not_a_mapping(yaml, text):
    assert "is not a mapping of keys" in refused(yaml(text))


def test_an_empty_file_lacks_what_is_required(yaml):
    assert "name: is required" in refused(yaml(""))


@pytest.mark.parametrize("override", [
    "train.epochs", "=3", "train..epochs=3", "[=1", " train.epochs=3", "--epochs",
    "train.loss[0]weight=1", "train.loss[0=kl", "train.loss]0[=kl", "a." * 1000 + "a=1",
])  # fmt: skip
def test_an_override_must_be_key_and_value(yaml, override):
    assert "expected key=value" in refused(yaml(), override)


@pytest.mark.parametrize("override", ["train.loss[9].weight=1", "train.loss[a].weight=1", "name=[1"])
def test_an_override_that_cannot_be_applied_is_named(yaml, override):
    assert f"  {override!r}: " in refused(yaml(), override)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("storage_path=${nowhere}", "storage_path: Interpolation key 'nowhere' not found"),
        ("seed=${seed}", "seed: Recursive interpolation detected"),
        ("name=${", "name: "),
        ("name=${dataset.name.x}", "name: "),
        ("seed=???", "seed: ??? marks a value that must be set; set it"),
        ("name=???", "name: ??? marks a value that must be set; set it"),
    ],
)
def test_an_interpolation_that_does_not_resolve(yaml, override, problem):
    assert f"  {problem}" in refused(yaml(), override) or f"  {override!r}: " in refused(yaml(), override)
    key, _, value = override.partition("=")
    lines = {"name": "toy", "dataset": "pydocs"} | {key: f"'{value}'"}
    assert f"  {problem}" in refused(yaml("".join(f"{name}: {text}\n" for name, text in lines.items())))
    with pytest.raises(ConfigError, match=f"  '?{key}[:=]"):
        gradret.config.loading.override(parse(small()), [override])


def test_all_that_do_not_resolve_are_named(yaml):
    text = (
        "name: toy\nseed: ???\ndataset: {name: pydocs}\ntrain:\n  epochs: ${nowhere}\n"
        "  loss: [kl, {name: infonce, weight: '???'}]\n"
    )
    assert refused(yaml(text), "mine.depth=${a.b}", "x").splitlines() == [
        "the config has 5 errors:",
        "  'x': expected key=value, such as train.loss[1].weight=0.2",
        "  seed: ??? marks a value that must be set; set it",
        "  train.epochs: Interpolation key 'nowhere' not found; to write ${ as text, escape it as \\${",
        "  train.loss[1].weight: ??? marks a value that must be set; set it",
        "  mine.depth: Interpolation key 'a.b' not found; to write ${ as text, escape it as \\${",
    ]


def test_a_dollar_that_is_meant_as_text(yaml):
    assert load(yaml(), ["storage_path=\\${x}"]).storage_path == "${x}"
    config = load(yaml(), ["storage_path=/a/\\${x}", "train.epochs=2"])
    assert load(yaml(to_yaml(config))) == config == override(config, ["train.epochs=2"])


def test_loading_checks_measures_and_importing_does_not():
    code = "import sys, gradret; sys.exit('ir_measures' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    with pytest.raises(ConfigError, match=r"evaluate\.measures"):
        gradret.run({"name": "x", "dataset": "pydocs", "evaluate": {"measures": ["nDGC@10"]}})
