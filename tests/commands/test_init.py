"""``gradret init``: the config that it writes for a folder, as gradret itself reads it."""

import json
from pathlib import Path

import pytest

import gradret
from gradret.cli import main
from gradret.commands.init import _RECIPE
from gradret.config.loading import to_yaml
from gradret.datasets.beir import Beir
from gradret.datasets.files import Files
from gradret.datasets.folder import Folder

ROOT = Path(gradret.__file__).parents[1]
PAGE, TABLE = "Some text.", "id,text\n1,some text\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a function that writes files to a folder; the working directory is another one."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def _write(name="my docs: 1", **files):
        path = tmp_path / name
        for file, text in files.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(text, encoding="utf-8")
        return path

    return _write


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"corpus.jsonl": "{}", "queries.jsonl": "{}"}, lambda path: Beir(path=str(path))),
        ({"a/b.md": PAGE, "image.png": ""}, lambda path: Folder(path=str(path))),
        ({"pages.csv": TABLE, "read.md": PAGE}, lambda path: Files(path=str(path), docs="pages.csv")),
        ({"anything.parquet": ""}, lambda path: Files(path=str(path), docs="anything.parquet")),
        (
            {"Collection.tsv.gz": "", "queries.tsv": "", "qrels.tsv": ""},
            lambda path: Files(path=str(path), docs="Collection.tsv.gz", queries="queries.tsv", test="qrels.tsv"),
        ),
        ({"docs.csv": "", "queries.csv": ""}, lambda path: Files(path=str(path), docs="docs.csv")),
    ],
)
def test_the_dataset_is_recognised(folder, files, expected, capsys):
    path = folder(**files)
    assert main(["init", str(path)]) == 0
    assert capsys.readouterr().out == "my docs: 1.yaml\n\ngradret run 'my docs: 1.yaml'\n"
    config = gradret.load("my docs: 1.yaml")
    assert config.dataset == expected(path)
    assert config.name == "my docs: 1"


def test_a_table_alone(folder, capsys):
    path = folder(**{"one.csv": TABLE, "two.csv": TABLE}) / "two.csv"
    assert main(["init", str(path), "--output", "x.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"config": "x.yaml"}
    config = gradret.load("x.yaml")
    assert (config.name, config.dataset) == ("two", Files(docs=str(path)))


def test_the_recipe_is_the_quickstarts_and_every_key_is_explained(folder):
    assert main(["init", str(folder(**{"a.txt": PAGE}))]) == 0
    ours = gradret.load("my docs: 1.yaml")
    replaced = ["name=my docs: 1", "dataset={name: folder}", f"dataset.path={ours.dataset.path}"]
    assert to_yaml(ours) == to_yaml(gradret.load(ROOT / "configs" / "quickstart.yaml", replaced))
    lines = Path("my docs: 1.yaml").read_text(encoding="utf-8").splitlines()
    settings = [number for number, line in enumerate(lines) if ": " in line and "#" not in line]
    assert len(settings) == 4 + len(_RECIPE)
    assert all(lines[number - 1].lstrip().startswith("# ") for number in settings)
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"image.png": ""}, "has no documents that gradret recognises"),
        ({"a.csv": "", "b.csv": ""}, "cannot tell which of a.csv, b.csv has the docs"),
        ({"docs.csv": "", "queries.csv": "", "queries.tsv": ""}, "has the queries"),
    ],
)
def test_what_is_not_recognised_is_said(folder, files, said, capsys):
    assert main(["init", str(folder(**files))]) == 2
    assert said in capsys.readouterr().err


def test_nothing_is_overwritten(folder, tmp_path, capsys):
    path = folder(**{"a.txt": PAGE})
    (tmp_path / "work" / "my docs: 1.yaml").write_text("mine")
    assert main(["init", str(path)]) == 2
    assert capsys.readouterr().err == "gradret: my docs: 1.yaml exists; name another file with --output\n"
    assert (tmp_path / "work" / "my docs: 1.yaml").read_text() == "mine"
    assert main(["init", str(path / "nothing")]) == 2
    assert "expected a folder with documents, or a table of them" in capsys.readouterr().err
