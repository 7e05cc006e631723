"""Laws for every component of every kind; a new file is tested automatically."""

import ast
import dataclasses
import importlib
import inspect
import json
import pickle
import re
import typing
from pathlib import Path

import pytest

import gradret
from gradret import components
from gradret.commands.show import describe
from gradret.config.loading import load, parse, to_yaml
from gradret.config.run import Config
from gradret.store.fingerprint import canonical

from .made import outside, placed, used

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
    ("datasets", "folder"): {"path": "some/folder"},
    ("datasets", "hf"): {"path": "some/repository"},
    ("datasets", "lists"): {"path": "train.jsonl"},
    ("datasets", "irds"): {"test": "beir/scifact/test"},
    ("engines", "openai"): {"model": "some-model"},
    ("engines", "vllm"): {"model": "some/model"},
    ("generators", "graded_documents"): ENGINE,
    ("generators", "llm_queries"): ENGINE,
    ("retrievers", "ranks"): {"retriever": {"name": "bm25", "k": 100}},
    ("retrievers", "rrf"): {"retrievers": [{"name": "bm25"}, {"name": "dense"}]},
    ("retrievers", "run_file"): {"path": "some/run.trec"},
    ("teachers", "annotator"): ENGINE,
    ("teachers", "cross_encoder"): {"model": "some/model"},
    ("teachers", "decoder_reranker"): {"model": "some/model"},
    ("teachers", "file"): {"path": "some/file.tsv"},
    ("teachers", "judge"): ENGINE,
    ("teachers", "mono_t5"): {"model": "some/model"},
    ("teachers", "rank_t5"): {"model": "some/model"},
    ("teachers", "weighted_sum"): {"teachers": [{"name": "fusion"}]},
}
# Known to who knows the method, or said once for the whole kind.
OBVIOUS = {"weight", "temperature", "k1", "b", "encoder", "teacher", "resources"}


EVERY = [*ALL, *((kind, each["name"]) for kind in components.KINDS for each in outside(kind))]


def label(component):
    return "-".join(component)


@pytest.fixture(params=ALL, ids=label)
def inside(request):
    return request.param


@pytest.fixture(params=EVERY, ids=label)
def component(request):
    return request.param


@pytest.fixture
def made(component):
    kind, name = component
    return parse(placed(kind, node(kind, name))), components.find(kind, name)


def node(kind, name):
    """The component in a config; one of another package as its variable has it."""
    given = [each for each in outside(kind) if each["name"] == name]
    return given[0] if given else {"name": name} | REQUIRED.get((kind, name), {})


def test_every_kind_has_components():
    assert {kind for kind, _ in ALL} == set(components.KINDS)
    for kind in components.KINDS:
        assert components.names(kind) == [name for each, name in ALL if each == kind]


def test_every_kind_says_how_to_add_one():
    for kind in components.KINDS:
        doc = " ".join(importlib.import_module(f"gradret.{kind}").__doc__.split())
        assert re.search(r"To add (one|an? \w+), write", doc)


def test_it_is_found_by_its_file_name(inside):
    kind, name = inside
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


def test_its_docstring_starts_with_a_sentence(inside):
    cls = components.find(*inside)
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
        defaulted = "ClassVar" in hint or attribute in vars(protocol)
        assert hasattr(cls, attribute) if defaulted else attribute in {field.name for field in dataclasses.fields(cls)}


def test_it_inherits_its_protocol_where_that_has_defaults(component):
    kind, name = component
    if kind not in {"datasets", "losses"}:
        protocol = getattr(importlib.import_module(f"gradret.{kind}"), kind.removesuffix("s").capitalize())
        assert protocol in components.find(kind, name).__mro__


def test_no_field_takes_a_default_that_is_the_protocols(component):
    """A field is a setting; what a Protocol has under the same name would become its default unnoticed."""
    cls = components.find(*component)
    written = {name for base in cls.__mro__ if dataclasses.is_dataclass(base) for name in vars(base)}
    fields = {field.name: field.default for field in dataclasses.fields(cls)}
    assert all(default is dataclasses.MISSING or name in written for name, default in fields.items())


def test_it_pickles(made):
    config, cls = made
    assert pickle.loads(pickle.dumps(used(config, cls))) == used(config, cls)


def test_it_survives_yaml(made, tmp_path):
    config, cls = made
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    loaded = load(path)
    # A default path may begin with ~, which loading expands.
    assert to_yaml(loaded) == to_yaml(config).replace("~/", f"{Path.home()}/")
    path.write_text(to_yaml(loaded), encoding="utf-8")
    assert load(path) == loaded
    assert type(used(loaded, cls)) is type(used(config, cls))


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


def test_its_file_holds_no_other_component(inside):
    kind, name = inside
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
