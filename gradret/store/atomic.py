"""Write a file or a folder atomically."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gradret.store.mirror import publish
from gradret.urls import is_mirrored

__all__ = ["atomic", "write_json", "write_text"]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a draft path of this process, a hidden name beside ``path``; rename it to ``path`` when the block ends.

    An existing file is replaced, and a folder only if it is empty. If the block raises, the draft is removed and
    ``path`` is unchanged. In a mirror, the draft is uploaded first, and its folder is made.
    """
    if is_mirrored(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Machines that share a folder may have processes of the same number.
    draft = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")
    try:
        yield draft
        publish(draft, path)
        draft.replace(path)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON to ``path``, atomically."""
    write_text(path, [json.dumps(value, indent=2), "\n"])


def write_text(path: Path, parts: Iterable[str]) -> None:
    """Write the parts to ``path``, atomically."""
    with atomic(path) as draft, draft.open("w", encoding="utf-8") as file:
        file.writelines(parts)
