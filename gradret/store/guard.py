"""Guard the folder of an artifact: one process at a time computes it, and a full disk is said in plain words."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradret.errors import StorageError
from gradret.progress import say
from gradret.store.claims import Turn, claimed
from gradret.urls import is_mirrored

__all__ = ["is_shared", "lock", "storage_errors"]

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EISDIR}


# File systems that several machines may share, and on which some set-ups keep flock to one machine.
_SHARED = {"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "glusterfs", "gpfs", "beegfs", "9p", "virtiofs"}


@contextmanager
def lock(artifact: Path) -> Iterator[Turn]:
    """Wait until no other process computes the artifact, and keep others from it."""

    def waiting() -> None:
        say(f"{artifact.parent.name:<10} another run is computing this; waiting for it")

    if is_mirrored(artifact) or is_shared(artifact):
        with claimed(artifact.with_suffix(".claims"), waiting) as turn:
            yield turn
        return
    with artifact.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield Turn()


def is_shared(path: Path) -> bool:
    """Whether a folder is on a file system that other machines may share."""
    import psutil

    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    kind = next((mounts[str(folder)] for folder in (path, *path.parents) if str(folder) in mounts), "")
    return kind in _SHARED or kind.startswith("fuse.")


@contextmanager
def storage_errors(stage: str, path: Path) -> Iterator[None]:
    """Raise StorageError, with what to do, if the disk is full, or the artifact ``path`` is deleted or read-only."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in _DISK_FULL:
            where = "GRADRET_MIRRORS" if is_mirrored(path) else "storage_path"
            raise StorageError(
                f"{stage}: no space left in {path}; free some, or set {where} to another disk, "
                "then run again: complete shards are kept"
            ) from error
        if error.errno in _NOT_WRITABLE and _is_below(error.filename, path):
            raise StorageError(
                f"{stage}: {path} cannot be written: {error.strerror}; set storage_path to another folder"
            ) from error
        if error.errno == errno.ENOENT and (not path.is_dir() or Path(str(error.filename)).is_relative_to(path)):
            raise StorageError(f"{stage}: {path} was deleted during the stage; run the same command again") from error
        raise


def _is_below(name: object, path: Path) -> bool:
    """Whether an error's file is in the artifact or a parent folder of it; assumed if the error names no file."""
    return not isinstance(name, str) or path.is_relative_to(name) or Path(name).is_relative_to(path.parent)
