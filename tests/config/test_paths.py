"""``~`` in every path of a config is expanded; that of an unknown user is unchanged."""

import dataclasses
from pathlib import Path

import pytest

from gradret import components
from gradret.config.evaluation import Evaluation, System, load_evaluation
from gradret.config.loading import load, parse
from gradret.config.run import Config, Generate, Label
from gradret.datasets.beir_archive import BeirArchive
from gradret.datasets.files import Files
from gradret.engines.openai import OpenAI
from gradret.generators.graded_documents import GradedDocuments
from gradret.teachers.file import File

# Fields that may hold a path, by name; a hub id or a template's name has no ~.
PATHS = {"path", "model", "lora", "chat_template", "tokenizer", "template", "prompt", "definitions", "pool"}
NO_PATH = {("engines", "openai", "model")}


def found():
    for kind in components.KINDS:
        for name in components.names(kind):
            for f in dataclasses.fields(components.find(kind, name)):
                if f.name in PATHS and (kind, name, f.name) not in NO_PATH:
                    yield kind, name, f.name


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/my/home")


def test_every_path_of_a_component():
    wrong = [
        one
        for one in found()
        if "location" not in {f.name: f for f in dataclasses.fields(components.find(*one[:2]))}[one[2]].metadata
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("tree", "get"),
    [
        ({"storage_path": "~/x"}, lambda config: config.storage_path),
        ({"dataset": {"name": "beir", "path": "~/x"}}, lambda config: config.dataset.path),
        (
            {"dataset": {"name": "files", "docs": "~/x", "queries": "q", "test": "t"}},
            lambda config: config.dataset.docs,
        ),
        ({"train": {"encoder": {"name": "transformer", "model": "~/x"}}}, lambda config: config.train.encoder.model),
        ({"label": {"teacher": {"name": "file", "path": "~/x"}}}, lambda config: config.label.teacher.path),
        ({"label": {"teacher": {"name": "cross_encoder", "model": "~/x"}}}, lambda config: config.label.teacher.model),
    ],
)
def test_a_tilde_is_the_home_folder(tree, get):
    assert get(parse({"name": "t", "dataset": "pydocs"} | tree)) == "/my/home/x"


def test_a_tilde_in_what_is_built_in_python():
    config = Config(
        name="t",
        dataset=BeirArchive(archive="scifact", path="~/x"),
        label=Label(teacher=File("~/labels.tsv")),
        generate=Generate(generator=GradedDocuments(engine=OpenAI(model="m", tokenizer="~/m"))),
    )
    assert config.dataset.path == "/my/home/x"
    assert config.label.teacher == File("/my/home/labels.tsv")
    assert config.generate.generator.engine.tokenizer == "/my/home/m"
    systems = {"b": System(model="~/m")}
    evaluation = Evaluation("t", {"a": BeirArchive("scifact")}, systems=systems, storage_path="~/s")
    assert (evaluation.storage_path, evaluation.systems["b"].model) == ("/my/home/s", "/my/home/m")
    assert evaluation.datasets["a"].path == "/my/home/.cache/gradret/beir"


def test_a_tilde_in_files_overrides_and_evaluations(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: t\nstorage_path: ~\ndataset: pydocs\n")
    assert load(path).storage_path == "/my/home"
    assert load(path, ["storage_path=~/a b"]).storage_path == "/my/home/a b"
    assert load(path, ["storage_path=~no-such-user/x", "name=~"]).storage_path == "~no-such-user/x"
    assert Config(name="t", dataset=None, storage_path="~/x").storage_path == "/my/home/x"
    path.write_text(
        "name: t\nstorage_path: ~/s\ndatasets: {a: pydocs}\nsystems: {b: {run: ~/x.trec}, c: {model: ~/m}}\n"
    )
    found = load_evaluation(path)
    assert (found.storage_path, found.systems["b"].run, found.systems["c"].model) == (
        "/my/home/s", "/my/home/x.trec", "/my/home/m",
    )  # fmt: skip


def test_each_file_of_a_list_has_its_own_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in "ab":
        (tmp_path / f"{name}.jsonl").touch()
    dataset = Files(docs="~/a.jsonl, ~/b.jsonl", queries="q", test="t")
    assert [Path(part.path).name for part in dataset.parts("docs")] == ["a.jsonl", "b.jsonl"]
    assert BeirArchive(archive="scifact").path == "~/.cache/gradret/beir"
    assert parse({"name": "t", "dataset": {"name": "beir_archive", "archive": "scifact"}})
