import os
import platform

import pytest

from gradret.store.atomic import atomic


def names(folder):
    return [path.name for path in folder.iterdir()]


def write_half(path):
    """A file's draft, or a folder's where ``path`` has no ending, and then a full disk."""
    with atomic(path) as draft:
        if path.suffix:
            draft.write_text("half")
        else:
            draft.mkdir()
            (draft / "config.json").write_text("half")
        raise OSError("full")


def test_a_file_takes_its_name_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
        assert draft.name == f".{path.name}.{platform.node()}.{os.getpid()}"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_raises_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="full"):
        write_half(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_an_empty_one(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    with atomic(folder) as draft:
        draft.mkdir()
        (draft / "config.json").write_text("{}")
    assert names(tmp_path) == ["model"]
    assert names(folder) == ["config.json"]


def test_a_folder_is_not_left_half_made(tmp_path):
    with pytest.raises(OSError, match="full"):
        write_half(tmp_path / "model")
    assert names(tmp_path) == []
