"""Write a shard's files, checksums last, and verify them before they are read.

00000.npy         the vectors, float32, or their codes (see ``gradret.search.codes``); the only data that is searched
                  with codes and with the type Flat
00000.scales.npy  the scales of the codes, if any
00000.faiss       the FAISS index, with any other type
00000.ids.arrow   doc_ids; its metadata has the names of index and shard
00000.sha256      checksums of the others, written last: it marks the shard as complete
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import DamagedError
from gradret.search.vectors import norms
from gradret.store import checksums
from gradret.store.atomic import write_text
from gradret.store.mirror import fetched, publish

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow as pa

    from gradret.search.codes import Codec
    from gradret.store.checksums import FileSum

__all__ = [
    "file_sum",
    "is_intact",
    "shard_bytes",
    "shard_file",
    "shard_sums",
    "verify",
    "write_faiss",
    "write_shard_files",
]

_ENDINGS = ("npy", "ids.arrow", "faiss", "scales.npy")


def write_shard_files(
    folder: Path,
    number: int,
    batches: Iterable[tuple[Sequence[str], np.ndarray]],
    shape: tuple[int, int],
    index: faiss.Index | None = None,
    *,
    codec: Codec | None = None,
) -> None:
    """Write a shard in batches of doc_ids and float32 vectors; the checksums last.

    Args:
        folder: the folder of the shards, inside the folder of their index.
        number: number of the shard.
        batches: batches in stored order.
        shape: total number of vectors, and their dimension.
        index: trained, empty index to add them to; None for exact search.
        codec: turns them into the codes that are written; None writes them as they are.
    """
    import numpy as np
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    path = shard_file(folder, number, "sha256")
    path.unlink(missing_ok=True)
    doc_ids, longest = [pa.array([], pa.string())], 0.0
    descr, width = (codec.dtype, codec.width) if codec else ("<f4", shape[1])
    header = {"descr": descr, "fortran_order": False, "shape": (shape[0], width)}
    with shard_file(folder, number, "npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for ids, vectors in batches:
            if not len(vectors):
                continue
            rows = np.ascontiguousarray(vectors, np.float32)
            written = codec.encode(rows) if codec else rows
            file.write(written.data.cast("B"))
            doc_ids.append(pa.array(ids, pa.string()))
            longest = max(longest, float(norms(codec.decode(written) if codec else rows).max()))
            if index is not None:
                index.add(rows)
    metadata = {"index": folder.parent.name, "shard": str(number), "longest": repr(longest)}
    _write_ids(shard_file(folder, number, "ids.arrow"), pa.chunked_array(doc_ids), metadata)
    for ending in ("faiss", "scales.npy"):
        shard_file(folder, number, ending).unlink(missing_ok=True)
    if codec:
        np.save(shard_file(folder, number, "scales.npy"), codec.scales)
    if index is not None:
        write_faiss(index, shard_file(folder, number, "faiss"))
    sums = "".join(f"{file_sum(part)}\n" for part in _parts(folder, number))
    for part in _parts(folder, number):
        publish(part)
    write_text(path, [sums])


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


def shard_sums(folder: Path, number: int) -> dict[str, FileSum]:
    """Return the sums of a shard's files, by their names in the index's artifact."""
    paths = [*_parts(folder, number), shard_file(folder, number, "sha256")]
    return {f"{folder.name}/{path.name}": checksums.file_sum(path) for path in paths}


def shard_bytes(files: Mapping[str, FileSum]) -> dict[str, int]:
    """Return the total size in bytes, for ``vectors``, ``index`` and ``ids``, of the files of all shards."""
    endings = {"vectors": "npy", "index": "faiss", "ids": "ids.arrow"}
    return {
        what: sum(each["bytes"] for name, each in files.items() if re.fullmatch(rf".*/\d{{5}}\.{ending}", name))
        for what, ending in endings.items()
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
    for ending in ("sha256", *_ENDINGS):
        fetched(shard_file(folder, number, ending))
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
    paths = [shard_file(folder, number, ending) for ending in _ENDINGS]
    return [*paths[:2], *(path for path in paths[2:] if path.exists())]


def _write_ids(path: Path, doc_ids: pa.ChunkedArray, metadata: dict[str, str]) -> None:
    import pyarrow as pa

    table = pa.table({"doc_id": doc_ids.combine_chunks()}).replace_schema_metadata(metadata)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
