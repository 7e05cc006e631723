"""Checksums of an artifact's files: recorded in its manifest, and checked before a process first reads a file.

    "files": {"docs/part-00000.parquet": {"bytes": 4711, "sha256": "..."}, ...}
    "checksum": SHA-256 of the manifest's other content

A manifest without these was written by an earlier version, and its files are read unchecked.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from gradret.errors import DamagedError, StorageError
from gradret.progress import say
from gradret.store.mirror import fetched, refreshed, remove, sizes_below
from gradret.urls import is_mirrored, shown

__all__ = [
    "MANIFEST",
    "FileSum",
    "check",
    "check_copy",
    "discard",
    "file_sum",
    "find_damage",
    "read_manifest",
    "record",
    "sealed",
]

MANIFEST = "manifest.json"

FileSum = dict[str, Any]
"""Size and checksum of a file: ``bytes`` and ``sha256``."""

_DEPTH = 3
"""Folders between an artifact and its deepest files that are read on their own."""
_RECORDED = re.compile(r'"([^"\n]+)": \{\s*"bytes": (\d+),\s*"sha256": "([0-9a-f]{64})"')

_checked: set[tuple[str, int, int]] = set()
"""Path, modification time and size of the files that this process has found intact."""
_records: dict[Path, tuple[tuple[int, int], dict[str, FileSum] | None]] = {}
"""State of an artifact's manifest, and its files, by the artifact's folder."""


def file_sum(path: Path) -> FileSum:
    """Size and checksum of a file."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def record(artifact: Path, known: Mapping[str, FileSum]) -> dict[str, FileSum]:
    """The sums of all files of an artifact by name; ``known`` has those taken when a file was written.

    Raises:
        FileNotFoundError: a known file has been deleted.
    """
    names = sorted(path.relative_to(artifact).as_posix() for path in artifact.rglob("*") if path.is_file())
    if is_mirrored(artifact):
        names = sorted({*names, *known})  # those that other nodes have written
    for name in sorted(known.keys() - set(names)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(artifact / name))
    return {name: known.get(name) or file_sum(artifact / name) for name in names if name != MANIFEST}


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its own checksum."""
    return {**manifest, "checksum": _checksum(manifest)}


def read_manifest(artifact: Path) -> dict[str, Any] | None:
    """The manifest of a finished artifact; None if it is not finished.

    Raises:
        DamagedError: the manifest is damaged.
    """
    path = refreshed(artifact / MANIFEST)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise DamagedError.of(path, artifact, f"is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("fingerprint") != artifact.name:
        raise DamagedError.of(path, artifact, f"is not the manifest of {artifact.parent.name}/{artifact.name}")
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    if len({"files", "checksum"} & set(manifest)) == 1 or manifest.get("checksum", _checksum(rest)) != _checksum(rest):
        raise DamagedError.of(path, artifact, "is damaged: its checksum differs")
    return manifest


def check(path: Path) -> Path:
    """Check a file of an artifact, or every file of a folder in it, and return ``path``.

    Each file is checked once per process. A path that is in no finished artifact is not checked.

    Raises:
        DamagedError: a file is missing, or not as it was written.
    """
    for artifact in () if _is_temporary(path) else (path, *path.parents[:_DEPTH]):
        files = _files(artifact)
        if files is not None:
            name = path.relative_to(artifact).as_posix()
            for each in [name] if name in files else _below(files, name):
                _check_file(artifact / each, artifact, files[each])
            return path
    return path if path.is_dir() else fetched(path)


def check_copy(copy: Path, artifact: Path, folder: str, changed: Collection[str] = ()) -> None:
    """Check the copy of an artifact's ``folder``, except the names in ``changed``; not if the artifact is gone.

    Raises:
        StorageError: a file is missing, or not as in the artifact.
    """
    files = _files(artifact) or {}
    for name in _below(files, folder):
        path = fetched(copy / name.removeprefix(f"{folder}/"))
        if path.name not in changed and not _is_intact(path, files[name]):
            raise StorageError(
                f"{shown(path)} is {_what(path)}; delete {shown(copy)} and run the command that made it again"
            )


def find_damage(artifact: Path) -> DamagedError | None:
    """The error for a damaged manifest, or for the first file that is missing or has another size; reads no file."""
    try:
        manifest = read_manifest(artifact) or {}
    except DamagedError as error:
        return error
    sizes = sizes_below(artifact) if manifest else {}
    for name, expected in manifest.get("files", {}).items():
        path = artifact / name
        size = _size(path) if sizes is None else sizes.get(name)
        if size != expected["bytes"]:
            why = "is missing" if size is None else f"is damaged: it has {size:,} bytes, expected {expected['bytes']:,}"
            return DamagedError.of(path, artifact, why)
    return None


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def discard(damage: DamagedError) -> None:
    """Make a damaged artifact unfinished: remove its manifest and every file that is not as recorded there.

    Intact files stay, since a stage may reuse them: index shards, and the answers of a language model. Call it with
    the artifact's lock; without a manifest, another run has done the same.
    """
    manifest = damage.artifact / MANIFEST
    if not manifest.exists():
        return
    say(f"{damage.artifact.parent.name:<10} {str(damage).partition(';')[0]}; computing it again", "warning")
    if is_mirrored(manifest):
        remove(damage.path)  # to read the others again would take longer than to compute them
        remove(manifest)
        return
    for path in _damaged(damage.artifact):
        path.unlink(missing_ok=True)
    manifest.unlink(missing_ok=True)


def _damaged(artifact: Path) -> list[Path]:
    """Files that are not as the manifest records them, found in its text, since the manifest may be cut."""
    text = (artifact / MANIFEST).read_text(encoding="utf-8", errors="replace")
    files = {name: {"bytes": int(size), "sha256": digest} for name, size, digest in _RECORDED.findall(text)}
    paths = [path for path in sorted(artifact.rglob("*")) if path.is_file() and path.name != MANIFEST]
    return [path for path in paths if files.get(path.relative_to(artifact).as_posix()) != file_sum(path)]


def _checksum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _is_temporary(path: Path) -> bool:
    """Whether a file of a mirror is below an artifact's ``work``, so in no manifest."""
    return is_mirrored(path) and "work" in path.parts[-_DEPTH - 2 : -1]


def _files(artifact: Path) -> dict[str, FileSum] | None:
    """The recorded files of a finished artifact; None for any other folder."""
    if artifact not in _records and is_mirrored(artifact) and artifact.parent.parent.name == "artifacts":
        fetched(artifact / MANIFEST)
    try:
        status = (artifact / MANIFEST).stat()
    except OSError:
        return None
    state = (status.st_mtime_ns, status.st_size)
    if artifact not in _records or _records[artifact][0] != state:
        _records[artifact] = (state, _recorded(artifact))
    return _records[artifact][1]


def _recorded(artifact: Path) -> dict[str, FileSum] | None:
    """As ``_files``. A file called manifest.json in a folder that is no artifact has another fingerprint."""
    try:
        manifest = read_manifest(artifact) or {}
    except DamagedError:
        if artifact.parent.parent.name == "artifacts":
            raise
        return None
    return manifest.get("files")


def _below(files: Mapping[str, FileSum], folder: str) -> Iterator[str]:
    return (name for name in files if folder == "." or name.startswith(f"{folder}/"))


def _check_file(path: Path, artifact: Path, expected: FileSum) -> None:
    if not _is_intact(path, expected) and not _is_intact(fetched(path, anew=path.exists()), expected):
        raise DamagedError.of(path, artifact, f"is {_what(path)}")


def _what(path: Path) -> str:
    return "damaged: its checksum differs" if path.exists() else "missing"


def _is_intact(path: Path, expected: FileSum) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    state = (str(path), status.st_mtime_ns, status.st_size)
    if state not in _checked:
        if file_sum(path) != expected:
            return False
        _checked.add(state)
    return True
