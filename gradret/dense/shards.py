"""A FAISS shard: built from a range of VECTORS, searched exactly where its type is exact.

FAISS gives other last bits for other shard counts and batch sizes. So a search fetches ``MARGIN``
more than it needs, computes their scores again from the vectors in float64, and rounds to float32.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.errors import StorageError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MARGIN", "Shard", "write_shard_files"]

MARGIN = 32


def write_shard_files(folder: Path, number: int, index: object, doc_ids: list[str], vectors: np.ndarray) -> None:
    """Write a built FAISS index with its ids and vectors; the checksum last, as the sign that all is there."""
    import faiss
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    faiss.write_index(index, str(folder / f"{number:05d}.faiss"))
    np.save(folder / f"{number:05d}.npy", vectors)
    (folder / f"{number:05d}.ids.json").write_text(json.dumps(doc_ids), encoding="utf-8")
    (folder / f"{number:05d}.sha256").write_text(_checksum(folder, number), encoding="ascii")


class Shard:
    """One shard, loaded.

    Args:
        folder: where the shard's files are.
        number: which one.
        threads: CPU threads for FAISS.

    Raises:
        StorageError: a file is missing or is not what was written.
    """

    def __init__(self, folder: Path, number: int, threads: int = 0) -> None:
        import faiss
        import numpy as np

        sums = folder / f"{number:05d}.sha256"
        try:
            if sums.read_text(encoding="ascii") != _checksum(folder, number):
                raise StorageError(f"shard {number} in {folder} fails its checksum; delete {folder.parent} and run again")
        except FileNotFoundError as error:
            raise StorageError(f"shard {number} in {folder} lacks {error.filename}; delete {folder.parent} and run again") from None
        if threads:
            faiss.omp_set_num_threads(threads)
        self.index = faiss.read_index(str(folder / f"{number:05d}.faiss"))
        self.vectors = np.load(folder / f"{number:05d}.npy", mmap_mode="r")
        self.doc_ids: list[str] = json.loads((folder / f"{number:05d}.ids.json").read_text(encoding="utf-8"))

    def search(self, queries: np.ndarray, k: int) -> tuple[list[list[str]], list[np.ndarray]]:
        """Each query's candidates and their float32 scores, in no order.

        Args:
            queries: ``(n, dimension)`` float32.
            k: how many are needed; up to ``k + MARGIN`` come back.
        """
        import numpy as np

        _, places = self.index.search(np.ascontiguousarray(queries), min(k + MARGIN, len(self.doc_ids)))
        ids, scores = [], []
        for query, row in zip(queries.astype(np.float64), places, strict=True):
            found = np.sort(row[row >= 0])
            exact = np.einsum("nd,d->n", self.vectors[found].astype(np.float64), query)
            ids.append([self.doc_ids[place] for place in found])
            scores.append(exact.astype(np.float32))
        return ids, scores


def _checksum(folder: Path, number: int) -> str:
    whole = hashlib.sha256()
    for ending in ("faiss", "npy", "ids.json"):
        with (folder / f"{number:05d}.{ending}").open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
