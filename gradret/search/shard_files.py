"""Write a shard's files, checksums last, and verify them before they are read.

00000.npy         the vectors, float32; with the type Flat, the only data that is searched
00000.faiss       the FAISS index, with any other type
00000.ids.arrow   doc_ids; its metadata has the names of index and shard
00000.sha256      checksums of the others, written last: it marks the shard as complete
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import DamagedError
from gradret.search.vectors import norms

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow as pa

__all__ = ["file_sum", "is_intact", "shard_bytes", "shard_file", "verify", "write_faiss", "write_shard_files"]


def write_shard_files(
    folder: Path,
    number: int,
    batches: Iterable[tuple[Sequence[str], np.ndarray]],
    shape: tuple[int, int],
    index: faiss.Index | None = None,
) -> None:
    """Write a shard in batches of doc_ids and float32 vectors; the checksums last.

    Args:
        folder: the folder of the shards, inside the folder of their index.
        number: number of the shard.
        batches: batches in stored order.
        shape: total number of vectors, and their dimension.
        index: trained, empty index to add them to; None for exact search.
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
    metadata = {"index": folder.parent.name, "shard": str(number), "longest": repr(longest)}
    _write_ids(shard_file(folder, number, "ids.arrow"), pa.chunked_array(doc_ids), metadata)
    shard_file(folder, number, "faiss").unlink(missing_ok=True)
    if index is not None:
        write_faiss(index, shard_file(folder, number, "faiss"))
    sums = "".join(f"{file_sum(part)}\n" for part in _parts(folder, number))
    path.write_text(sums, encoding="ascii")


def write_faiss(index: faiss.Index, path: Path) -> None:
    """Write a FAISS index; raise OSError if that fails, as other writes do, not FAISS's RuntimeError."""
    import faiss

    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        full = "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EACCES, str(error), str(path)) from error


def is_intact(folder: Path, number: int) -> bool:
    """Return whether the shard is complete and unchanged."""
    try:
        verify(folder, number)
    except DamagedError:
        return False
    return True


def shard_bytes(folder: Path) -> dict[str, int]:
    """Return the total size of all shards' files in bytes, for ``vectors``, ``index`` and ``ids``."""
    endings = {"vectors": "npy", "index": "faiss", "ids": "ids.arrow"}
    return {
        what: sum(path.stat().st_size for path in folder.glob(f"?????.{ending}")) for what, ending in endings.items()
    }


def shard_file(folder: Path, number: int, ending: str) -> Path:
    """Return the path of the shard's file with this ending."""
    return folder / f"{number:05d}.{ending}"


def verify(folder: Path, number: int) -> None:
    """Check a shard's files.

    Raises:
        DamagedError: a file is missing, damaged or from another index; a run rebuilds the shard.
    """
    import pyarrow as pa

    index = folder.parent
    try:
        sums = shard_file(folder, number, "sha256").read_text(encoding="ascii", errors="replace").splitlines()
        missing = [name for line in sums if (name := line.partition("  ")[2]) and not (folder / name).exists()]
        if missing:
            raise DamagedError.of(folder / missing[0], index, "is missing")
        damaged = [path for path in _parts(folder, number) if file_sum(path) not in sums]
    except FileNotFoundError as error:
        raise DamagedError.of(Path(error.filename), index, "is missing") from None
    if damaged:
        raise DamagedError.of(damaged[0], index, "is damaged: its checksum differs")
    path = shard_file(folder, number, "ids.arrow")
    metadata = pa.ipc.open_file(pa.memory_map(str(path))).schema.metadata or {}
    owner = (metadata.get(b"index", b"").decode(), metadata.get(b"shard", b"").decode())
    if owner != (index.name, str(number)):
        raise DamagedError.of(path, index, f"belongs to shard {owner[1]} of index {owner[0]}")


def file_sum(path: Path) -> str:
    """Return a file's checksum as a line that ``sha256sum --check`` reads."""
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}"


def _parts(folder: Path, number: int) -> list[Path]:
    """Return the shard's files that have a checksum."""
    paths = [shard_file(folder, number, ending) for ending in ("npy", "ids.arrow", "faiss")]
    return paths if paths[2].exists() else paths[:2]


def _write_ids(path: Path, doc_ids: pa.ChunkedArray, metadata: dict[str, str]) -> None:
    import pyarrow as pa

    table = pa.table({"doc_id": doc_ids.combine_chunks()}).replace_schema_metadata(metadata)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
