"""Write a file or a folder atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic"]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a draft path, a hidden name beside ``path``, and rename it to ``path`` when the block ends.

    An existing file is replaced, and a folder only if it is empty. If the block raises, the draft is removed and
    ``path`` is unchanged.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
