"""Finding components by name, in gradret and outside."""

import sys

import pytest

from gradret import components
from gradret.config.loading import parse
from gradret.errors import ConfigError

OUTSIDE = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    """A loss of one's own."""
    weight: float = 1.0
    """How much it counts."""
    power: int = 2

    needs = ()
    whole_batch = False

    def load(self):
        """Nothing to load."""

class Holder:
    @dataclass(frozen=True)
    class Inner:
        """Inside another class."""
        weight: float = 1.0

        needs = ()
        whole_batch = False

        def load(self):
            """Nothing to load."""

class Plain:
    """Not a dataclass."""

instance = Mine()
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    (tmp_path / "outside_module.py").write_text(OUTSIDE)
    (tmp_path / "broken_module.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("outside_module", None)


def test_names_are_sorted_and_leave_out_what_is_private():
    assert components.names("datasets") == ["beir", "beir_archive", "files", "folder", "hf", "irds", "lists", "pydocs"]


def test_unknown_names_get_the_nearest():
    with pytest.raises(ConfigError, match="'infonse' is not one of the losses; did you mean 'infonce'"):
        components.find("losses", "infonse")
    with pytest.raises(
        ConfigError,
        match="'zzz' is not one of the datasets; known: beir, beir_archive, files, folder, hf, irds, lists, pydocs",
    ):
        components.find("datasets", "zzz")


@pytest.mark.parametrize("name", ["", "_stdlib", "data", "../cli", "gradret.losses.kl", "KL", "kl.py"])
def test_names_that_are_no_components(name):
    for kind in components.KINDS:
        with pytest.raises(ConfigError, match="is not one of the"):
            components.find(kind, name)


def test_a_file_without_its_class(monkeypatch):
    monkeypatch.setattr(components, "names", lambda kind: ["__init__"])
    with pytest.raises(ConfigError, match="contains no dataclass named after its file"):
        components.find("losses", "__init__")


def test_a_class_from_outside(outside):
    cls = components.find("losses", "outside_module:Mine")
    assert components.name_of(cls()) == components.name_of(cls) == "outside_module:Mine"
    assert components.field_docs(cls) == {"weight": "How much it counts.", "power": ""}
    config = parse(
        {"name": "toy", "dataset": "pydocs", "train": {"loss": [{"name": "outside_module:Mine", "power": 3}]}}
    )
    assert config.train.loss == (cls(power=3),)


def test_a_class_inside_a_class(outside):
    cls = components.find("losses", "outside_module:Holder.Inner")
    assert components.name_of(cls()) == "outside_module:Holder.Inner"


@pytest.mark.parametrize("name", ["outside_module:Nothing", "no_module:X", ":X", "outside_module:", "broken_module:X"])
def test_outside_classes_that_are_not_there(outside, name):
    with pytest.raises(ConfigError, match=f"({name} cannot be imported|is not the name of a class)"):
        components.find("losses", name)


@pytest.mark.parametrize("name", ["outside_module:Plain", "outside_module:instance", "os:path"])
def test_what_is_no_dataclass(outside, name):
    with pytest.raises(ConfigError, match=f"{name} is not a dataclass; a component's fields are its config keys"):
        components.find("losses", name)
