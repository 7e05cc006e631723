"""What changes a fingerprint, and what does not."""

import dataclasses
import importlib
import os
import sys

import pytest

from gradret.config.resources import Workers
from gradret.config.run import Dedupe, Index
from gradret.datasets.beir import Beir
from gradret.losses.kl import KL
from gradret.stages import ingest
from gradret.store import fingerprint as module
from gradret.store.fingerprint import canonical, fingerprint, hash_files, source_files

HERE = "gradret.stages.dedupe"


def name(settings=None, code=HERE, inputs=None, stage="stage"):
    return fingerprint(stage, code, settings or {}, inputs or {})


def test_it_is_16_hex_digits_and_the_same_each_time():
    assert name() == name()
    assert len(name()) == 16
    int(name(), 16)


def test_stage_settings_and_inputs_change_it():
    names = {
        name(),
        name(stage="other"),
        name({"a": 1}),
        name({"a": 2}),
        name({"a": "1"}),
        name({"b": 1}),
        name({"dedupe": Dedupe()}),
        name({"dedupe": Dedupe(window=3)}),
        name(inputs={"docs": "x"}),
        name(inputs={"docs": "y"}),
        name(inputs={"other": "x"}),
    }
    assert len(names) == 11


@dataclasses.dataclass(frozen=True)
class Stage:
    size: int = 1
    resources: Workers = Workers()


def test_resources_do_not_change_it():
    assert name({"s": Stage()}) == name({"s": Stage(resources=Workers(actors=7, gpus=1))})
    assert name({"s": {"resources": 1, "x": 2}}) == name({"s": {"resources": 9, "x": 2}})
    assert name({"s": Stage()}) != name({"s": Stage(size=2)})


def test_the_order_of_settings_does_not_change_it():
    assert name({"a": 1, "b": 2}) == name({"b": 2, "a": 1})
    assert name({"a": [1, 2]}) != name({"a": [2, 1]})
    assert name({"a": [1, 2]}) == name({"a": (1, 2)})


def test_canonical_values(tmp_path):
    assert canonical({"k": KL(teacher_temperature=0.3), "c": Beir, "p": tmp_path, "n": None}) == {
        "k": {"name": "kl", "weight": 1.0, "student_temperature": 0.05, "teacher_temperature": 0.3, "columns": "list"},
        "c": {"name": "beir"},
        "p": str(tmp_path),
        "n": None,
    }
    assert canonical(Index()) == {"name": "run", "factory": "Flat", "num_shards": 1}
    with pytest.raises(TypeError, match="cannot fingerprint a set"):
        canonical({"a": {1}})


def test_the_code_is_that_of_the_stage_and_what_it_imports_and_no_plumbing():
    files = source_files([ingest.__name__])
    assert {"gradret.stages.ingest", "gradret.datasets"} <= set(files)
    assert not set(files) & module.PLUMBING
    assert all(path.suffix == ".py" and path.is_file() for path in files.values())


def test_the_code_of_components_in_the_settings_counts():
    assert "gradret.losses.kl" in source_files([*module.component_modules({"train": {"loss": [KL()]}})])
    assert module.component_modules({"class": Beir}) == ["gradret.datasets.beir"]


@pytest.mark.parametrize("changed", ["gradret.stages.ingest", "gradret.datasets", "gradret.datasets.beir"])
def test_a_change_in_any_of_its_files_changes_it(monkeypatch, changed):
    before = name({"dataset": Beir}, ingest.__name__)
    path, real = source_files([changed])[changed], module._sha256
    monkeypatch.setattr(module, "_sha256", lambda file: "changed" if file == path else real(file))
    assert name({"dataset": Beir}, ingest.__name__) != before


@pytest.mark.parametrize("changed", ["gradret.store.artifacts", "gradret.progress", "gradret.losses.kl"])
def test_a_change_in_plumbing_or_elsewhere_does_not(monkeypatch, changed):
    before = name({"dataset": Beir}, ingest.__name__)
    path, real = importlib.util.find_spec(changed).origin, module._sha256
    monkeypatch.setattr(module, "_sha256", lambda file: "changed" if str(file) == path else real(file))
    assert name({"dataset": Beir}, ingest.__name__) == before


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package that is not gradret's, whose stage imports three of its own modules in three ways."""
    package = tmp_path / "outside_package"
    (package / "deep").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "stage.py": "import json\nfrom . import near\nfrom outside_package import far\nfrom .deep.inner import x\n",
        "near.py": "a = 1\n",
        "far.py": "import gradret.text\nimport outside_package.farther\n",
        "farther.py": "",
        "deep/__init__.py": "from . import twin\n",
        "deep/inner.py": "from ..above import y\nx = y\n",
        "deep/twin.py": "",
        "above.py": "y = 1\n",
        "stranger.py": "",
    }
    for path, text in files.items():
        (package / path).write_text(text)
        os.utime(package / path, (1, 1))
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for loaded in [each for each in sys.modules if each.partition(".")[0] == "outside_package"]:
        del sys.modules[loaded]
    module._spec.cache_clear()


def test_imports_of_an_outside_package_are_followed_within_it(outside):
    assert set(source_files(["outside_package.stage"])) == {
        "gradret.scripts",
        "gradret.text",
        *(f"outside_package{end}" for end in ["", ".stage", ".near", ".far", ".farther", ".deep", ".deep.inner"]),
        "outside_package.deep.twin",
        "outside_package.above",
    }


@pytest.mark.parametrize("file", ["stage.py", "near.py", "farther.py", "deep/inner.py", "deep/twin.py", "above.py"])
def test_a_change_in_an_imported_file_changes_it(outside, file):
    before = name(code="outside_package.stage")
    assert name(code="outside_package.stage") == before
    (outside / file).write_text((outside / file).read_text() + "# changed\n")
    assert name(code="outside_package.stage") != before


def test_a_change_in_a_file_that_is_not_imported_does_not(outside):
    before = name(code="outside_package.stage")
    (outside / "stranger.py").write_text("changed = True\n")
    assert name(code="outside_package.stage") == before


def test_hash_of_files(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    assert len({hash_files([one, two]), hash_files([two, one]), hash_files([one]), hash_files([])}) == 4


def test_a_file_that_changes_within_a_tick_of_the_clock_is_read_again(tmp_path):
    path = tmp_path / "file"
    path.write_text("1")
    stamp = path.stat().st_mtime_ns
    before = hash_files([path])
    path.write_text("2")
    os.utime(path, ns=(stamp, stamp))
    assert hash_files([path]) != before


def test_an_old_file_is_read_once(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("1")
    os.utime(path, (1000, 1000))
    before = hash_files([path])
    monkeypatch.setattr(module, "_digest", lambda path: "read again")
    assert hash_files([path]) == before
    os.utime(path, (2000, 2000))
    assert hash_files([path]) != before


def test_finding_the_code_imports_nothing(outside):
    (outside / "far.py").write_text("from outside_package.near import a\nraise SystemExit\n")
    assert "outside_package.near" in source_files(["outside_package.stage"])
    assert "outside_package" not in sys.modules
