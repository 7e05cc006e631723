"""The storage: a folder, or the mirror of one in an object store."""

from __future__ import annotations

from pathlib import Path

from gradret.errors import ConfigError
from gradret.store.objects import require_bucket
from gradret.urls import local_path, location

__all__ = ["storage_folder"]

_reached: set[Path] = set()
"""Mirrors of storages whose bucket this process has reached."""


def storage_folder(path: str) -> Path:
    """The storage, made if it does not exist. Absolute, since workers of a cluster have other working folders.

    Raises:
        ConfigError: it cannot be created.
        StorageError: the bucket of a URL cannot be read.
    """
    folder = local_path(path).absolute()
    place = location(folder)
    if place and folder not in _reached:
        require_bucket(place)
        _reached.add(folder)
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"storage_path: {folder} cannot be created: {reason}; choose another folder") from error
    return folder
