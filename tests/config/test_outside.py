"""Classes outside gradret: when their module is imported, and which are rejected."""

import sys

import pytest

from gradret import components
from gradret.config.loading import parse
from gradret.errors import ConfigError

LOSS = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
Path(__file__).with_name("imported").touch()

@dataclass(frozen=True)
class Mine:
    weight: float = 1.0
    needs: ClassVar = ("grade",)
    whole_batch: ClassVar = False

    def load(self):
        raise NotImplementedError

class Plain:
    pass
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """The name of a module of the user's; ``imported`` appears beside it when it runs."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text=LOSS):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in [name for name in sys.modules if name.startswith("outside_")]:
        del sys.modules[name]


def tree(loss, **blocks):
    return {"name": "t", "dataset": "pydocs", "train": {"loss": [loss]}} | blocks


def problems(tree):
    with pytest.raises(ConfigError) as caught:
        parse(tree)
    return list(caught.value.problems)


def test_a_class_is_imported_only_if_nothing_else_is_wrong(outside, tmp_path):
    name = outside("outside_a")
    loss = {"name": f"{name}:Mine", "weight": "2"}
    said = problems(tree(loss, seed="x", mine={"retrievers": ["bm26"]}))
    assert [one.partition(":")[0] for one in said] == ["seed", "mine.retrievers[0].name"]
    assert not (tmp_path / "imported").exists()
    (made,) = parse(tree(loss)).train.loss
    assert (type(made).__name__, made.weight) == ("Mine", 2.0)
    assert (tmp_path / "imported").exists()
    assert problems(tree(loss | {"wieght": 1}))[0].startswith(
        "train.loss[0].wieght: 'wieght' is not a key here; did you"
    )


@pytest.mark.parametrize(
    "name", ["..x:b", ":b", "outside_b:", "outside_b:a b", "outside-b:Mine", "outside_b:Mine:x", "a..b:C"]
)
def test_what_is_no_name_of_a_class_imports_nothing(name, outside, tmp_path):
    outside("outside_b")
    assert problems(tree({"name": name})) == [
        f"train.loss[0].name: {name!r} is not the name of a class; expected package.module:Class"
    ]
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('no')", "cannot be imported: RuntimeError: no"),
        ("import sys; sys.exit(0)", "cannot be imported: SystemExit: 0"),
        ("1/", "cannot be imported: SyntaxError: "),
        ("", "cannot be imported: AttributeError: "),
        ("class Mine: pass", "is not a dataclass; a component's fields are its config keys"),
        (
            LOSS.replace("    whole_batch: ClassVar = False\n", ""),
            "does not declare whole_batch; inherit gradret.losses.Loss",
        ),
    ],
)
def test_a_class_that_cannot_be_used(text, said, outside):
    name = outside("outside_c", text)
    (problem,) = problems(tree({"name": f"{name}:Mine"}))
    assert problem.startswith(f"train.loss[0].name: {name}:Mine ")
    assert said in problem


KINDS = [(kind, name) for kind in components.KINDS for name in components.names(kind)]


@pytest.mark.parametrize("kind", components.KINDS)
def test_every_component_is_of_its_own_kind_alone(kind):
    for of, name in KINDS:
        cls = components.find(of, name)
        outside = f"{cls.__module__}:{cls.__name__}"
        if of == kind:
            assert components.find(kind, outside) is cls
        else:
            with pytest.raises(ConfigError, match=f"not one of the {kind}"):
                components.find(kind, outside)


def test_a_teacher_where_a_loss_belongs():
    assert problems(tree({"name": "gradret.teachers.fusion:Fusion"})) == [
        "train.loss[0].name: gradret.teachers.fusion:Fusion is one of the teachers, not one of the losses"
    ]


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"name": "x" * 300}, "name: must be at most 200 bytes long, got 300"),
        ({"name": "名" * 80}, "name: must be at most 200 bytes long, got 240"),
        ({"storage_path": "a\0b"}, "storage_path: must not contain a NUL character, got 'a\\x00b'"),
        ({"dataset": {"name": "beir", "path": "\0"}}, "dataset.path: must not contain a NUL character, got '\\x00'"),
        ({"storage_path": "\ud800"}, "storage_path: must be valid Unicode, got '\\ud800'"),
        (
            {"index": {"factory": "PQ9999999999999999999"}},
            "index.factory: a number in 'PQ9999999999999999999' is too large",
        ),
    ],
)
def test_what_no_file_or_index_can_be(blocks, said):
    assert problems({"name": "t", "dataset": "pydocs"} | blocks) == [said]
