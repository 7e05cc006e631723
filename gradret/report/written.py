"""``checksums.json`` of a run's folder: its files, and what they were written from, so that none is written twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradret.store.atomic import write_json
from gradret.store.checksums import FileSum, file_sum
from gradret.store.mirror import refreshed, sizes_below

__all__ = ["is_written", "mark_written"]

_NAME = "checksums.json"


def is_written(folder: Path, source: str) -> bool:
    """Whether the folder's files were written from ``source`` and are as they were written.

    Args:
        folder: the run's folder.
        source: a hash of all that decides the files.
    """
    try:
        marked: dict[str, Any] = json.loads(refreshed(folder / _NAME).read_text(encoding="utf-8"))
        return bool(marked["source"] == source) and _are_intact(folder, marked["files"])
    except (OSError, KeyError, TypeError, ValueError):
        return False


def mark_written(folder: Path, source: str, files: Sequence[Path]) -> None:
    """Record the ``files`` of the folder, all just written from ``source``."""
    sums = {path.relative_to(folder).as_posix(): file_sum(path) for path in files}
    write_json(folder / _NAME, {"source": source, "files": sums})


def _are_intact(folder: Path, files: dict[str, FileSum]) -> bool:
    """Whether all files are there and unchanged; in an object store, whether they have their sizes."""
    sizes = sizes_below(folder)
    if sizes is not None:
        return all(sizes.get(name) == each["bytes"] for name, each in files.items())
    return all(file_sum(folder / name) == each for name, each in files.items())
