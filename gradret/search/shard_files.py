"""The files of a shard: written with their checksums last, and found whole or not before they are read.

00000.npy         the vectors, float32; a shard of the type Flat has nothing else to search in
00000.faiss       the FAISS index of any other type
00000.ids.arrow   doc_ids, and what shard of which index this is
00000.sha256      checksums of these, last: the sign that all is there
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import StorageError
from gradret.search.vectors import norms

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow as pa

__all__ = ["file_sum", "shard_bytes", "shard_file", "verify", "whole", "write_faiss", "write_shard_files"]


def write_shard_files(
    folder: Path,
    number: int,
    batches: Iterable[tuple[Sequence[str], np.ndarray]],
    shape: tuple[int, int],
    index: faiss.Index | None = None,
) -> None:
    """Write a shard, a batch of doc_ids and float32 vectors at a time; the checksums last.

    Args:
        folder: the shards' folder, in that of their index.
        number: which shard.
        batches: in stored order.
        shape: vectors in all, and their dimension.
        index: the trained, empty index that they are added to; none for exact search.
    """
    import numpy as np
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    path = shard_file(folder, number, "sha256")
    path.unlink(missing_ok=True)
    doc_ids, longest = [pa.array([], pa.string())], 0.0
    with shard_file(folder, number, "npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for ids, vectors in batches:
            if not len(vectors):
                continue
            rows = np.ascontiguousarray(vectors, np.float32)
            file.write(rows.data.cast("B"))
            doc_ids.append(pa.array(ids, pa.string()))
            longest = max(longest, float(norms(rows).max()))
            if index is not None:
                index.add(rows)
    about = {"index": folder.parent.name, "shard": str(number), "longest": repr(longest)}
    _write_ids(shard_file(folder, number, "ids.arrow"), pa.chunked_array(doc_ids), about)
    shard_file(folder, number, "faiss").unlink(missing_ok=True)
    if index is not None:
        write_faiss(index, shard_file(folder, number, "faiss"))
    sums = "".join(f"{file_sum(part)}\n" for part in _parts(folder, number))
    path.write_text(sums, encoding="ascii")


def write_faiss(index: faiss.Index, path: Path) -> None:
    """Write a FAISS index; where FAISS cannot, the error is an OSError, as other writes raise."""
    import faiss

    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        full = "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EACCES, str(error), str(path)) from error


def whole(folder: Path, number: int) -> bool:
    """Whether the shard is there as it was written."""
    try:
        verify(folder, number)
    except StorageError:
        return False
    return True


def shard_bytes(folder: Path) -> dict[str, int]:
    """Bytes of all shards' files, by what they hold: ``vectors``, ``index`` and ``ids``."""
    endings = {"vectors": "npy", "index": "faiss", "ids": "ids.arrow"}
    return {
        what: sum(path.stat().st_size for path in folder.glob(f"?????.{ending}")) for what, ending in endings.items()
    }


def shard_file(folder: Path, number: int, ending: str) -> Path:
    """Where the shard has what ``ending`` stands for."""
    return folder / f"{number:05d}.{ending}"


def verify(folder: Path, number: int) -> None:
    """Check a shard's files.

    Raises:
        StorageError: one is missing, damaged or of another index; the next run then builds the shard again.
    """
    try:
        _check(folder, number)
    except StorageError:
        # Without its manifest the index is one that is not finished.
        (folder.parent / "manifest.json").unlink(missing_ok=True)
        raise


def _check(folder: Path, number: int) -> None:
    import pyarrow as pa

    again = "run again: it is built anew"
    try:
        sums = shard_file(folder, number, "sha256").read_text(encoding="ascii", errors="replace").splitlines()
        missing = [name for line in sums if (name := line.partition("  ")[2]) and not (folder / name).exists()]
        if missing:
            raise StorageError(f"{folder / missing[0]} is missing; {again}")
        damaged = [path for path in _parts(folder, number) if file_sum(path) not in sums]
    except FileNotFoundError as error:
        raise StorageError(f"{error.filename} is missing; {again}") from None
    if damaged:
        raise StorageError(f"{damaged[0]} is damaged: it fails its checksum; {again}")
    path = shard_file(folder, number, "ids.arrow")
    about = pa.ipc.open_file(pa.memory_map(str(path))).schema.metadata or {}
    of = (about.get(b"index", b"").decode(), about.get(b"shard", b"").decode())
    if of != (folder.parent.name, str(number)):
        raise StorageError(f"{path} belongs to shard {of[1]} of index {of[0]}; {again}")


def file_sum(path: Path) -> str:
    """A file's checksum, as a line that ``sha256sum --check`` reads."""
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}"


def _parts(folder: Path, number: int) -> list[Path]:
    """The shard's files with a checksum."""
    paths = [shard_file(folder, number, ending) for ending in ("npy", "ids.arrow", "faiss")]
    return paths if paths[2].exists() else paths[:2]


def _write_ids(path: Path, doc_ids: pa.ChunkedArray, about: dict[str, str]) -> None:
    import pyarrow as pa

    table = pa.table({"doc_id": doc_ids.combine_chunks()}).replace_schema_metadata(about)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
