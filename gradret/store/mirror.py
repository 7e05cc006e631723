"""Keep local copies of a storage in an object store: files go up when they are whole, and come down when they are read.

A storage at a URL has a mirror on each node, a folder whose paths name the objects (see ``gradret.urls``). What
reads and writes the storage works on these local paths and calls the functions below; they do nothing for any other
path. The object store is right: an object that differs from its copy, in size or time of writing, replaces it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import StorageError
from gradret.store import objects
from gradret.urls import is_mirrored, location, mirrors

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

    from gradret.urls import Location

__all__ = [
    "complete",
    "current_text",
    "empty",
    "exists",
    "fetch_below",
    "fetched",
    "files_below",
    "files_in",
    "inside",
    "publish",
    "published",
    "refreshed",
    "remove",
    "sizes_below",
]

_THREADS = 16
_LOCKS = 64
_INTERVAL = 5.0
"""Seconds between uploads of a file that grows."""


def publish(path: Path, name: Path | None = None) -> None:
    """Upload a file, or every file of a folder.

    Args:
        path: a file or folder of a mirror.
        name: upload it as this path instead.
    """
    place = location(name or path)
    if place is None:
        return
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        _in_threads(_publish_file, files, [inside(place, file.relative_to(path).as_posix()) for file in files])
    else:
        _publish_file(path, place)


def _publish_file(path: Path, place: Location) -> None:
    _date(path, objects.upload(path, place))


def fetched(path: Path, *, anew: bool = False) -> Path:
    """Return ``path``, after copying its object to it unless the copy is current.

    Args:
        path: a file.
        anew: copy it even if the copy looks current: two objects of one size may be written within a second.
    """
    place = location(path)
    if place is None:
        return path
    with _lock(path):
        found = objects.info(place)
        if found and (anew or not _is_current(path, found)):
            _download(path, place)
    return path


def refreshed(path: Path) -> Path:
    """As ``fetched``; a copy without an object is deleted."""
    place = location(path)
    if place is not None:
        if objects.info(place) is None:
            path.unlink(missing_ok=True)
        else:
            fetched(path)
    return path


def fetch_below(folder: Path, only: str = "") -> None:
    """Copy every object below ``folder`` that is not current here.

    Args:
        folder: the folder.
        only: copy only the objects in the folder itself whose names match this pattern.
    """
    place = location(folder)
    if place is None:
        return
    found = objects.listing(place, below=not only)
    names = [name for name, each in found.items() if not _is_current(folder / name, each)]
    names = [name for name in names if Path(name).match(only or "*")]
    _in_threads(_download, [folder / name for name in names], [inside(place, name) for name in names])


def files_in(folder: Path, pattern: str = "*") -> list[Path]:
    """The files in ``folder`` that match ``pattern``, sorted, on this machine and in the object store."""
    place = location(folder)
    local = [path for path in folder.glob(pattern) if path.is_file()]
    if place is None:
        return sorted(local)
    return sorted({*local, *(folder / name for name in objects.listing(place) if Path(name).match(pattern))})


def files_below(folder: Path, pattern: str) -> list[Path]:
    """As ``files_in``, for files in the folders of ``folder`` too."""
    place = location(folder)
    if place is None:
        return sorted(folder.glob(pattern))
    return sorted(folder / name for name in objects.listing(place, below=True) if Path(name).match(pattern))


def current_text(path: Path) -> str:
    """The text of a file that another node may be writing, from there unless this machine has it; empty if neither."""
    place = location(path)
    if path.exists() or place is None:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    return (objects.read(place) or b"").decode(errors="replace")


def exists(path: Path) -> bool:
    """Whether there is such a file, here or in the object store."""
    place = location(path)
    return path.exists() or (place is not None and objects.info(place) is not None)


def sizes_below(folder: Path) -> dict[str, int] | None:
    """Sizes in bytes of the objects below a folder, by name; None if it is no mirror's."""
    place = location(folder)
    return None if place is None else {name: each.size for name, each in objects.listing(place, below=True).items()}


def remove(path: Path) -> None:
    """Delete a file or folder of a mirror, and its objects."""
    place = location(path)
    if place is None:
        return
    objects.delete(place)
    empty(path)


def empty(path: Path) -> None:
    """Delete the copies at ``path``: what an earlier run left here may be older than what another wrote since."""
    if is_mirrored(path):
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)


def complete(folder: Path, known: Mapping[str, object], without: str) -> None:
    """Make the mirror and the objects of a folder the same: upload what is only here, copy what is only there.

    Args:
        folder: the folder.
        known: names of objects that need no copy here.
        without: a folder in it that is left alone.
    """
    place = location(folder)
    if place is None:
        return
    found = objects.listing(place, below=True)
    local = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    new = [path for path in local if not _is_current(path, found.get(path.relative_to(folder).as_posix()))]
    _in_threads(_publish_file, new, [inside(place, path.relative_to(folder).as_posix()) for path in new])
    missing = [name for name in found.keys() - known.keys() if not (folder / name).exists()]
    names = [name for name in missing if not name.startswith(f"{without}/")]
    _in_threads(_download, [folder / name for name in names], [inside(place, name) for name in names])


@contextmanager
def published(path: Path) -> Iterator[None]:
    """Upload a file that grows every few seconds, and when the block ends."""
    if not is_mirrored(path):
        yield
        return
    refreshed(path)
    ended, uploaded = threading.Event(), [-1]

    def upload() -> None:
        size = path.stat().st_size if path.exists() else -1
        if size > uploaded[0]:
            snapshot = path.with_name(f".{path.name}.{os.getpid()}")
            shutil.copyfile(path, snapshot)
            publish(snapshot, path)
            snapshot.unlink()
            uploaded[0] = size

    def watch() -> None:
        while not ended.wait(_INTERVAL):
            try:
                upload()
            except (OSError, StorageError):  # what reads or writes results says so
                continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        upload()


def _download(path: Path, place: Location) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        found = objects.download(place, draft)
        if found:
            _date(draft, found)
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _date(path: Path, found: FileInfo) -> None:
    """Give a copy its object's time of writing."""
    os.utime(path, ns=(found.mtime_ns, found.mtime_ns))


def _is_current(path: Path, found: FileInfo | None) -> bool:
    """Whether a copy has its object's size and, to the second that object stores keep, time of writing."""
    try:
        status = path.stat()
    except OSError:
        return False
    return found is not None and (status.st_size, int(status.st_mtime)) == (found.size, int(found.mtime.timestamp()))


def inside(place: Location, name: str) -> Location:
    """The place of a name below a folder."""
    return replace(place, key=f"{place.key}/{name}")


def _in_threads(work: Callable[[Path, Location], None], paths: Sequence[Path], places: Sequence[Location]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, paths, places))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one process of this machine at a time fetch a file, so that each comes down once."""
    number = int.from_bytes(hashlib.sha256(str(path).encode()).digest()[:4]) % _LOCKS
    root = mirrors(path)
    lock = root / "locks" / f"{number:02d}"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise StorageError(
            f"{root} cannot be written: {error.strerror}; set GRADRET_MIRRORS to a folder on a local disk"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
