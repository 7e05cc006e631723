"""Compute a damaged artifact again, in the run that meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gradret.errors import DamagedError
from gradret.store.artifacts import is_known
from gradret.store.checksums import discard
from gradret.store.guard import lock

__all__ = ["repaired"]

T = TypeVar("T")


def repaired(command: Callable[[], T]) -> T:
    """Call ``command``; if a file of an artifact that it made or reused is damaged, discard that and call it again.

    Args:
        command: opens every artifact anew, so that those that are finished are reused.

    Raises:
        DamagedError: the artifact belongs to another run, or the same file is damaged again.
    """
    met: set[Path] = set()
    while True:
        try:
            return command()
        except DamagedError as error:
            if error.path in met or not is_known(error.artifact):
                raise
            met.add(error.path)
            with lock(error.artifact):
                discard(error)
