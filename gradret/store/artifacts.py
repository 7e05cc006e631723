"""Content-addressed results of stages: ``STORAGE/artifacts/STAGE/FINGERPRINT/``.

    manifest.json          written last: where it stands, the artifact is whole
    TABLE/part-00000.parquet ...
    quarantine/part-00000.parquet ...
    anything else a stage makes (a model folder, FAISS shards)

A shard is written under another name and renamed, so a shard that exists is whole. One run at a
time makes an artifact: it holds a lock that the kernel drops when the run dies; a second run
waits and then finds the artifact made.
"""

from __future__ import annotations

import errno
import fcntl
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import StorageError
from gradret.progress import say
from gradret.store import contracts
from gradret.store.atomic import atomic
from gradret.store.fingerprint import canonical, fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Artifact", "Draft", "make", "opened", "read_shard", "write_json", "write_shard", "write_text"]


_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EISDIR}


@dataclass(frozen=True)
class Artifact:
    """A finished result. Tables come sorted by the key of their contract."""

    stage: str
    fingerprint: str
    path: Path
    manifest: dict[str, Any] = field(repr=False, compare=False)

    def shards(self, table: str) -> list[Path]:
        """Parquet files of ``table``, in order; none if it is empty.

        Raises:
            StorageError: a file that was there when the artifact was finished is gone.
        """
        paths = _shards(self.path / table)
        wanted = self.manifest.get("shards", {}).get(table, len(paths))
        if len(paths) != wanted:
            raise StorageError(
                f"{self.path / table} has {len(paths)} shards, not {wanted}; delete {self.path} and run again"
            )
        return paths

    def table(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """All rows of ``table``, sorted by key. For what fits in memory."""
        import pyarrow as pa

        keys = contracts.KEYS[table]
        wanted = None if columns is None else list(dict.fromkeys([*keys, *columns]))
        parts = [read_shard(path, table, wanted) for path in self.shards(table)]
        whole = pa.concat_tables(parts) if parts else contracts.schema(table).empty_table()
        whole = whole.sort_by([(key, "ascending") for key in keys])
        return whole if columns is None else whole.select(columns)

    def batches(self, table: str) -> Iterator[pa.Table]:
        """The shards of ``table``, one at a time, in stored order."""
        for path in self.shards(table):
            yield read_shard(path, table)

    @property
    def counts(self) -> dict[str, int]:
        """Rows in, out, quarantined and whatever else the stage counted."""
        counts: dict[str, int] = self.manifest["counts"]
        return counts


class Draft:
    """An artifact in the making."""

    def __init__(self, path: Path, stage: str) -> None:
        self.path, self.stage = path, stage
        self.counts: dict[str, int] = {}
        self.notes: dict[str, Any] = {}
        self.quarantined: dict[str, int] = {}

    def write(self, table: str, rows: pa.Table, shard: int = 0) -> None:
        """Check ``rows`` against the contract called ``table`` and write them as one shard."""
        write_shard(self.path / table / f"part-{shard:05d}.parquet", rows, table)

    def folder(self, name: str) -> Path:
        """A fresh folder inside the artifact."""
        path = self.path / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def count(self, **counts: int) -> None:
        """Add to the artifact's counts."""
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number


def make(
    stage: str,
    storage: str,
    *,
    module: str,
    settings: Mapping[str, object],
    inputs: Mapping[str, Artifact],
    body: Callable[[Draft], None],
) -> Artifact:
    """The artifact of ``stage``: found if it was made before, made by ``body`` if not.

    Args:
        stage: the stage's name, part of the path.
        storage: the folder that holds all artifacts and runs.
        module: the module whose code, with all it imports, enters the fingerprint.
        settings: what decides the result.
        inputs: the artifacts that it reads.
        body: writes the result into the draft.

    Raises:
        StorageError: the storage cannot be written or is full.
    """
    name = fingerprint(stage, module, settings, {key: artifact.fingerprint for key, artifact in inputs.items()})
    # Absolute: a worker of a cluster has a working folder of its own.
    path = Path(storage).absolute() / "artifacts" / stage / name
    with _storage_errors(stage, path):
        found = _open(stage, path)
        if found:
            _say_once(f"{stage:<10} reused", path)
            return found
        path.mkdir(parents=True, exist_ok=True)
        with _lock(path.with_suffix(".lock"), stage):
            found = _open(stage, path)
            if found:
                return found
            draft, started = Draft(path, stage), time.monotonic()
            body(draft)
            _clear(path)
            manifest = {
                "stage": stage,
                "fingerprint": name,
                "inputs": {key: f"{artifact.stage}/{artifact.fingerprint}" for key, artifact in inputs.items()},
                "settings": canonical(settings),
                "shards": _shard_counts(path),
                "counts": draft.counts,
                "quarantined": draft.quarantined,
                "notes": draft.notes,
                "seconds": round(time.monotonic() - started, 3),
                "python": platform.python_version(),
            }
            write_json(path / "manifest.json", manifest)
    counts = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in draft.counts.items())
    _said.add(path)
    say(f"{stage:<10} {manifest['seconds']:6.1f} s   {counts}".rstrip())
    return Artifact(stage, name, path, manifest)


_said: set[Path] = set()
"""Artifacts that this process has spoken of; stages share them, and once is enough."""


def _say_once(text: str, path: Path) -> None:
    if path not in _said:
        _said.add(path)
        say(text)


def opened(path: Path) -> Artifact:
    """The finished artifact in ``path``.

    Raises:
        StorageError: there is none, or its manifest is damaged.
    """
    found = _open(path.parent.name, path)
    if not found:
        raise StorageError(f"{path} holds no finished artifact; run again what made it")
    return found


def read_shard(path: Path, table: str, columns: list[str] | None = None) -> pa.Table:
    """One Parquet shard.

    Raises:
        StorageError: the file is missing, truncated or not Parquet.
        ContractError: it breaks the contract called ``table``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise StorageError(f"{path} cannot be read ({error}); delete {path.parent.parent} and run again") from error
    return rows if columns is not None else contracts.check(rows, table, str(path))


def write_shard(path: Path, rows: pa.Table, table: str) -> None:
    """Check ``rows`` and write them to ``path``, whole or not at all."""
    import pyarrow.parquet as pq

    rows = contracts.check(rows, table, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as draft:
        # Values and ids of vectors do not repeat.
        pq.write_table(rows, draft, compression="zstd", use_dictionary=table != "vectors")


def write_json(path: Path, value: object) -> None:
    """Write ``value`` to ``path``, whole or not at all."""
    write_text(path, [json.dumps(value, indent=2), "\n"])


def write_text(path: Path, parts: Iterable[str]) -> None:
    """Write the parts to ``path``, whole or not at all."""
    with atomic(path) as draft, draft.open("w", encoding="utf-8") as file:
        file.writelines(parts)


def _open(stage: str, path: Path) -> Artifact | None:
    place = path / "manifest.json"
    try:
        manifest = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StorageError(f"{place} is damaged: {error}; delete {path} and run again") from error
    if not isinstance(manifest, dict) or manifest.get("fingerprint") != path.name:
        raise StorageError(f"{place} is not the manifest of {stage}/{path.name}; delete {path} and run again")
    return Artifact(stage, path.name, path, manifest)


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _shard_counts(path: Path) -> dict[str, int]:
    return {folder.name: len(_shards(folder)) for folder in sorted(path.iterdir()) if _shards(folder)}


def _clear(path: Path) -> None:
    """Remove what only helped to make the artifact: ``work/``, and drafts that a killed run left."""
    shutil.rmtree(path / "work", ignore_errors=True)
    for left in path.rglob(".part-*.parquet.*"):
        left.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path, stage: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{stage:<10} another run is making this; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _storage_errors(stage: str, path: Path) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                f"{stage}: no space left in {path}; free some or set storage_path to another disk, "
                "then run again: what is whole is kept"
            ) from error
        if error.errno in _CLOSED and _is_below(error.filename, path):
            raise StorageError(f"{stage}: {path} cannot be written: {error.strerror}; set storage_path") from error
        raise


def _is_below(name: object, path: Path) -> bool:
    """Whether an error is about the artifact or a folder on the way to it; one without a name is taken to be."""
    return not isinstance(name, str) or path.is_relative_to(name) or Path(name).is_relative_to(path.parent)
