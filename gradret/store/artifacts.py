"""Store the results of stages by content: ``STORAGE/artifacts/STAGE/FINGERPRINT/``.

    manifest.json          written last: an artifact with a manifest is complete; has the checksums of all files
    TABLE/part-00000.parquet ...
    quarantine/part-00000.parquet ...
    other output of the stage (a model folder, FAISS shards)

A shard is written under a temporary name and renamed, so a shard that exists is complete. Only one run at a time
computes an artifact: it holds a lock, which the kernel releases if the run dies; a second run waits and then reuses the
artifact. A storage in an object store works alike: each node has a mirror of what it wrote or read.
"""

from __future__ import annotations

import platform
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import DamagedError, StorageError
from gradret.numbered import part
from gradret.store import contracts
from gradret.store.atomic import atomic, write_json
from gradret.store.checksums import (
    MANIFEST,
    FileSum,
    check,
    discard,
    file_sum,
    find_damage,
    read_manifest,
    record,
    sealed,
)
from gradret.store.fingerprint import canonical, fingerprint
from gradret.store.guard import lock, storage_errors
from gradret.store.mirror import complete, empty, files_in, remove
from gradret.store.storage import storage_folder
from gradret.urls import is_mirrored, shown
from gradret.version import VERSION

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "Artifact",
    "Draft",
    "is_known",
    "make",
    "opened",
    "read_shard",
    "shard_metadata",
    "write_shard",
]


@dataclass(frozen=True)
class Artifact:
    """A finished result of a stage. Tables are returned sorted by the key of their contract."""

    stage: str
    fingerprint: str
    path: Path
    manifest: dict[str, Any] = field(repr=False, compare=False)

    def shards(self, table: str) -> list[Path]:
        """Parquet files of ``table``, in order; empty if the table is.

        Raises:
            DamagedError: files are missing that the finished artifact had.
        """
        if is_mirrored(self.path):
            names = sorted(name for name in self.manifest["files"] if name.startswith(f"{table}/part-"))
            return [self.path / name for name in names]
        paths = _shards(self.path / table)
        expected = self.manifest.get("shards", {}).get(table, len(paths))
        if len(paths) != expected:
            raise find_damage(self.path) or StorageError(
                f"{self.path / table} has {len(paths)} shards, expected {expected}; delete {self.path} and run again"
            )
        return paths

    def file(self, name: str) -> Path:
        """A file or folder of the artifact, checked.

        Raises:
            DamagedError: a file is missing, or not as it was written.
        """
        return check(self.path / name)

    def size(self, folder: str, ending: str) -> int:
        """Total bytes of the files in ``folder``, and below it, whose names have this ending."""
        files: dict[str, FileSum] = self.manifest.get("files", {})
        return sum(
            each["bytes"] for name, each in files.items() if name.startswith(f"{folder}/") and name.endswith(ending)
        )

    def table(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """All rows of ``table``, sorted by key; they must fit in memory."""
        import pyarrow as pa

        keys = contracts.KEYS[table]
        needed = None if columns is None else list(dict.fromkeys([*keys, *columns]))
        parts = [read_shard(path, table, needed) for path in self.shards(table)]
        # Not schema.empty_table, which imports pandas.
        rows = pa.concat_tables(parts) if parts else pa.Table.from_batches([], contracts.schema(table))
        rows = rows.sort_by([(key, "ascending") for key in keys])
        return rows if columns is None else rows.select(columns)

    def batches(self, table: str) -> Iterator[pa.Table]:
        """The shards of ``table``, one at a time, in stored order."""
        for path in self.shards(table):
            yield read_shard(path, table)

    @property
    def counts(self) -> dict[str, int]:
        """The stage's counts: rows in, out and quarantined, and its own."""
        return dict(self.manifest["counts"])


class Draft:
    """An artifact that a stage is writing."""

    def __init__(self, path: Path, stage: str, about: str = "") -> None:
        self.path, self.stage, self.about = path, stage, about
        self.counts: dict[str, int] = {}
        self.notes: dict[str, Any] = {}
        self.quarantined: dict[str, int] = {}
        self.files: dict[str, FileSum] = {}
        """Sums of the files that were taken as they were written, by name."""

    def write(self, table: str, rows: pa.Table, shard: int = 0) -> None:
        """Check ``rows`` against the contract ``table`` and write them as one shard."""
        name = f"{table}/part-{shard:05d}.parquet"
        self.files[name] = write_shard(self.path / name, rows, table)

    def folder(self, name: str) -> Path:
        """A fresh folder inside the artifact."""
        path = self.path / name
        remove(path)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def parts(self, table: str) -> list[Path]:
        """The shards of a table that are written, in order."""
        return files_in(self.path / table, "part-*.parquet")

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
    about: str = "",
) -> Artifact:
    """Return the artifact of ``stage``: reuse it if it exists, else compute it with ``body``.

    Args:
        stage: name of the stage, part of the path.
        storage: folder of all artifacts and runs.
        module: module whose code, with its imports, enters the fingerprint.
        settings: settings that decide the result.
        inputs: artifacts that the stage reads.
        body: writes the result to a draft.
        about: which model and which texts, for the log, where a stage runs several times.

    Raises:
        ConfigError: the storage cannot be created.
        StorageError: it is full or cannot be written.
    """
    name = fingerprint(stage, module, settings, {key: artifact.fingerprint for key, artifact in inputs.items()})
    path = storage_folder(storage) / "artifacts" / stage / name
    with storage_errors(stage, path):
        if existing := _reusable(stage, path):
            _say_reused(stage, about, path, settings)
            return existing
        path.mkdir(parents=True, exist_ok=True)
        with lock(path) as turn:
            if existing := _reusable(stage, path):
                return existing
            if damage := find_damage(path):
                discard(damage)
            empty(path)
            path.mkdir(exist_ok=True)
            draft, started = Draft(path, stage, about), time.monotonic()
            body(draft)
            manifest = {
                "stage": stage,
                "fingerprint": name,
                "inputs": {key: f"{artifact.stage}/{artifact.fingerprint}" for key, artifact in inputs.items()},
                "settings": canonical(settings),
                "shards": _shard_counts(files := _collect(draft)),
                "counts": draft.counts,
                "quarantined": draft.quarantined,
                "notes": draft.notes,
                "seconds": round(time.monotonic() - started, 3),
                **_versions(),
                "files": files,
            }
            turn.require()
            write_json(path / MANIFEST, manifest := sealed(manifest))
            remove(path / "work")
    _known.add(path)
    part(stage, about, shown(path), seconds=manifest["seconds"], summary=_summary(draft), settings=settings)
    return Artifact(stage, name, path, manifest)


def _summary(draft: Draft) -> str:
    return ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in draft.counts.items())


_known: set[Path] = set()
"""Artifacts that this process has made or reused, and logged; stages share artifacts, and each is logged once."""


def _say_reused(stage: str, about: str, path: Path, settings: Mapping[str, object]) -> None:
    if path not in _known:
        _known.add(path)
        part(stage, about, shown(path), settings=settings)


def is_known(path: Path) -> bool:
    """Whether this process has made or reused the artifact in ``path``."""
    return path in _known


def opened(path: Path) -> Artifact:
    """Open the finished artifact in ``path``.

    Raises:
        StorageError: there is none, or its manifest is damaged.
    """
    artifact = _open(path.parent.name, path)
    if not artifact:
        raise StorageError(f"{shown(path)} contains no finished artifact; run the command that computes it again")
    return artifact


def read_shard(path: Path, table: str, columns: list[str] | None = None) -> pa.Table:
    """Read one Parquet shard.

    Raises:
        DamagedError: the file is not as its artifact's manifest records it.
        StorageError: the file is missing, truncated or not Parquet.
        ContractError: the rows violate the contract ``table``.
    """
    import pyarrow.parquet as pq

    # Not pq.read_table, which imports pandas, and takes a folder called a=b for a column.
    with _reading(path), pq.ParquetFile(check(path)) as file:
        rows = file.read(columns) if columns is None else file.read(columns).select(columns)
    return rows if columns is not None else contracts.check(rows, table, str(path))


def shard_metadata(path: Path) -> pq.FileMetaData:
    """The metadata of a Parquet shard.

    Raises:
        DamagedError: the file is not as its artifact's manifest records it.
        StorageError: the file is missing, truncated or not Parquet.
    """
    import pyarrow.parquet as pq

    with _reading(path):
        return pq.read_metadata(check(path))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except DamagedError:
        raise
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise StorageError(f"{path} cannot be read ({error}); delete {path.parent.parent} and run again") from error


def write_shard(path: Path, rows: pa.Table, table: str) -> FileSum:
    """Check ``rows`` against the contract ``table`` and write them to ``path``, atomically; returns the file's sum."""
    import pyarrow.parquet as pq

    rows = contracts.check(rows, table, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as draft:
        # Vectors and their ids do not repeat, so a dictionary only costs space.
        pq.write_table(rows, draft, compression="zstd", use_dictionary=table != "vectors")
        return file_sum(draft)


def _open(stage: str, path: Path) -> Artifact | None:
    manifest = read_manifest(path)
    return None if manifest is None else Artifact(stage, path.name, path, manifest)


def _reusable(stage: str, path: Path) -> Artifact | None:
    return None if find_damage(path) else _open(stage, path)


def _versions() -> dict[str, str]:
    return {"gradret": VERSION, "python": platform.python_version()}


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _shard_counts(files: Iterable[str]) -> dict[str, int]:
    """Number of shards of each table."""
    return dict(
        Counter(file.partition("/")[0] for file in sorted(files) if re.fullmatch(r"[^/]+/part-[^/]*\.parquet", file))
    )


def _collect(draft: Draft) -> dict[str, FileSum]:
    """The sums of all files of a finished draft, without temporary ones."""
    _clear(draft.path)
    complete(draft.path, draft.files, without="work")
    return record(draft.path, draft.files)


def _clear(path: Path) -> None:
    """Remove temporary files: ``work/``, and drafts that a killed run left behind."""
    shutil.rmtree(path / "work", ignore_errors=True)
    for draft in path.rglob(".part-*.parquet.*"):
        draft.unlink(missing_ok=True)
