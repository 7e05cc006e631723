"""Every component of every kind, by itself: a new file is tested as soon as it exists."""

import ast
import dataclasses
import importlib
import inspect
import json
import pickle
import typing
from pathlib import Path

import pytest

import gradret
from gradret import components
from gradret.commands.show import describe
from gradret.config.loading import load, parse, to_yaml
from gradret.config.run import Config
from gradret.store.fingerprint import canonical

ROOT = Path(gradret.__file__).parent
ALL = [
    (kind, path.stem)
    for kind in components.KINDS
    for path in sorted((ROOT / kind).glob("*.py"))
    if not path.stem.startswith("_")
]
# What a component cannot be made without.
ENGINE = {"engine": {"name": "vllm", "model": "some/model"}}
REQUIRED = {
    ("datasets", "beir"): {"path": "some/folder"},
    ("datasets", "beir_archive"): {"archive": "scifact"},
    ("datasets", "files"): {"docs": "corpus.jsonl", "queries": "queries.tsv", "test": "qrels.txt"},
    ("datasets", "hf"): {"path": "some/repository"},
    ("datasets", "irds"): {"test": "beir/scifact/test"},
    ("engines", "openai"): {"model": "some-model"},
    ("engines", "vllm"): {"model": "some/model"},
    ("generators", "graded_documents"): ENGINE,
    ("generators", "llm_queries"): ENGINE,
    ("retrievers", "ranks"): {"retriever": {"name": "bm25", "k": 100}},
    ("retrievers", "rrf"): {"retrievers": [{"name": "bm25"}, {"name": "dense"}]},
    ("teachers", "annotator"): ENGINE,
    ("teachers", "cross_encoder"): {"model": "some/model"},
    ("teachers", "decoder_reranker"): {"model": "some/model"},
    ("teachers", "file"): {"path": "some/file.tsv"},
    ("teachers", "judge"): ENGINE,
    ("teachers", "mono_t5"): {"model": "some/model"},
    ("teachers", "rank_t5"): {"model": "some/model"},
}
# Known to who knows the method, or said once for the whole kind.
OBVIOUS = {"weight", "temperature", "k1", "b", "encoder", "teacher", "resources"}


@pytest.fixture(params=ALL, ids=[f"{kind}-{name}" for kind, name in ALL])
def component(request):
    return request.param


@pytest.fixture
def made(component):
    kind, name = component
    return parse(tree(kind, name)), components.find(kind, name)


def tree(kind, name):
    """A config that uses the component where its kind goes."""
    node = {"name": name} | REQUIRED.get((kind, name), {})
    whole = {"name": "toy", "dataset": {"name": "pydocs"}}
    places = {
        "datasets": {"dataset": node},
        "encoders": {"train": {"encoder": node}},
        "engines": {"label": {"teacher": {"name": "judge", "engine": node}}},
        "generators": {"generate": {"generator": node}},
        "losses": {"train": {"loss": [node, {**node, "weight": 0.5}]}},
        "retrievers": {"mine": {"retrievers": [node]}},
        "teachers": {"label": {"teacher": node}},
    }
    return whole | places[kind]


def used(config, cls):
    """The component of the class in a config."""
    todo = [config]
    while todo:
        value = todo.pop(0)
        if type(value) is cls:
            return value
        if dataclasses.is_dataclass(value):
            todo += [getattr(value, field.name) for field in dataclasses.fields(value)]
        elif isinstance(value, tuple):
            todo += value
    raise AssertionError(f"no {cls} in {config}")


def test_every_kind_has_components():
    assert {kind for kind, _ in ALL} == set(components.KINDS)
    for kind in components.KINDS:
        assert components.names(kind) == [name for each, name in ALL if each == kind]


def test_every_kind_says_how_to_add_one():
    for kind in components.KINDS:
        assert "To add one" in " ".join(importlib.import_module(f"gradret.{kind}").__doc__.split())


def test_it_is_found_by_its_file_name(component):
    kind, name = component
    cls = components.find(kind, name)
    assert cls.__module__ == f"gradret.{kind}.{name}"
    assert cls.__name__.lower() == name.replace("_", "")
    assert components.name_of(cls) == name


def test_it_is_a_frozen_dataclass(made):
    config, cls = made
    assert dataclasses.is_dataclass(cls)
    with pytest.raises(dataclasses.FrozenInstanceError):
        used(config, cls).weight = 1.0
    hash(used(config, cls))


def test_its_docstring_starts_with_a_sentence(component):
    cls = components.find(*component)
    first, _, rest = inspect.cleandoc(cls.__doc__).partition("\n")
    assert not first.startswith(f"{cls.__name__}(")  # dataclass wrote that
    assert first[-1] in ".;,:" or first.endswith("queries")
    assert not rest or rest.startswith("\n")


def test_every_field_is_documented(component):
    cls = components.find(*component)
    docs = components.field_docs(cls)
    fields = {field.name for field in dataclasses.fields(cls)}
    assert fields == set(docs)
    silent = {name for name in fields if not docs[name] and name not in cls.__doc__ and name not in OBVIOUS}
    assert not silent


def test_it_has_the_methods_of_its_protocol(component):
    kind, name = component
    package = importlib.import_module(f"gradret.{kind}")
    protocol = getattr(package, {"losses": "Loss"}.get(kind, kind.removesuffix("s").capitalize()))
    cls = components.find(kind, name)
    assert typing.is_protocol(protocol) if hasattr(typing, "is_protocol") else protocol._is_protocol
    for method, wanted in vars(protocol).items():
        if inspect.isfunction(wanted) and not method.startswith("_"):
            assert list(inspect.signature(getattr(cls, method)).parameters) == list(
                inspect.signature(wanted).parameters
            )
    for attribute, hint in protocol.__annotations__.items():
        assert hasattr(cls, attribute)
        defaulted = "ClassVar" in hint or attribute in vars(protocol)
        assert defaulted or attribute in {field.name for field in dataclasses.fields(cls)}


def test_it_inherits_its_protocol_where_that_declares_what_it_can_do(component):
    kind, name = component
    if kind in components._DECLARED:
        protocol = getattr(importlib.import_module(f"gradret.{kind}"), kind.removesuffix("s").capitalize())
        cls = components.find(kind, name)
        assert protocol in cls.__mro__
        assert set(components._DECLARED[kind]) <= set(vars(protocol))


def test_it_pickles(made):
    config, cls = made
    assert pickle.loads(pickle.dumps(used(config, cls))) == used(config, cls)


def test_it_survives_yaml(made, tmp_path):
    config, cls = made
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load(path) == config
    assert used(load(path), cls) == used(config, cls)


def test_it_can_be_fingerprinted(made):
    config, cls = made
    value = canonical(used(config, cls))
    assert value["name"] == components.name_of(cls)
    assert set(value) == {"name"} | {field.name for field in dataclasses.fields(cls)} - {"resources"}


def test_its_page_shows_every_field(component):
    kind, name = component
    page = describe(kind, name)
    fields = [field.name for field in dataclasses.fields(components.find(kind, name))]
    shown = [row["field"] for row in page.data["fields"]]
    assert list(dict.fromkeys(field.partition(".")[0] for field in shown)) == fields
    assert all(f"\n  {field}: " in page.text for field in shown)
    json.dumps(page.data)


def test_its_file_holds_no_other_component(component):
    kind, name = component
    body = ast.parse((ROOT / kind / f"{name}.py").read_text(encoding="utf-8")).body
    public = [node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    dataclass = [
        node
        for node in public
        if dataclasses.is_dataclass(getattr(importlib.import_module(f"gradret.{kind}.{name}"), node))
        and not node.endswith("Resources")  # a part of the component
    ]
    assert dataclass == [components.find(kind, name).__name__]


def test_the_defaults_of_the_config_are_components():
    config = parse({"name": "toy", "dataset": "pydocs"})
    assert isinstance(config, Config)
    assert [components.name_of(loss) for loss in config.train.loss] == ["kl", "infonce"]
