"""A FAISS shard: built from a range of VECTORS, searched exactly where its type is exact.

FAISS gives other last bits for other shard counts and batch sizes, and takes any of the documents
that tie. So a search fetches more than it needs, on until what is left out is worse than the k-th
by more than rounding can explain, computes the scores again from the vectors in float64, and
rounds them to float32. What then comes first does not depend on how the vectors were divided.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import StorageError

if TYPE_CHECKING:
    import faiss
    import numpy as np

__all__ = ["MARGIN", "Shard", "write_shard_files"]

MARGIN = 32
_ENDINGS = ("faiss", "npy", "ids.json")
_BLOCK = 1 << 16


def write_shard_files(folder: Path, number: int, index: faiss.Index, doc_ids: list[str], vectors: np.ndarray) -> None:
    """Write a built FAISS index with its ids and vectors; the checksums last, as the sign that all is there."""
    import faiss
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    faiss.write_index(index, str(folder / f"{number:05d}.faiss"))
    np.save(folder / f"{number:05d}.npy", vectors)
    (folder / f"{number:05d}.ids.json").write_text(json.dumps(doc_ids), encoding="utf-8")
    sums = "".join(f"{_sum(folder, number, ending)}\n" for ending in _ENDINGS)
    (folder / f"{number:05d}.sha256").write_text(sums, encoding="ascii")


class Shard:
    """One shard, mapped into memory.

    Args:
        folder: where the shard's files are.
        number: which one.

    Raises:
        StorageError: a file is missing or is not what was written.
    """

    def __init__(self, folder: Path, number: int) -> None:
        import faiss
        import numpy as np
        import pyarrow as pa

        _verify(folder, number)
        # Mapped, as the vectors are: the kernel keeps what there is room for.
        self.index = faiss.read_index(str(folder / f"{number:05d}.faiss"), faiss.IO_FLAG_MMAP_IFC)
        self.vectors = np.load(folder / f"{number:05d}.npy", mmap_mode="r")
        doc_ids = json.loads((folder / f"{number:05d}.ids.json").read_text(encoding="utf-8"))
        self.doc_ids = pa.array(doc_ids, pa.string())
        self.longest = max((_norms(self.vectors[at : at + _BLOCK]).max() for at in self._blocks()), default=0.0)

    def search(self, queries: np.ndarray, k: int) -> tuple[list[list[str]], list[np.ndarray]]:
        """Each query's candidates and their float32 scores, in no order: the ``k`` best and some more.

        Args:
            queries: ``(n, dimension)`` float32.
            k: how many are needed.
        """
        import numpy as np

        ids, scores = [], []
        for query, found in zip(queries.astype(np.float64), self._candidates(queries, k), strict=True):
            exact = np.einsum("nd,d->n", self.vectors[found].astype(np.float64), query)
            ids.append(self.doc_ids.take(found).to_pylist())
            scores.append(exact.astype(np.float32))
        return ids, scores

    def _candidates(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        """Places, ascending, of what may be among each query's ``k`` best."""
        import numpy as np

        size, fetch = len(self.doc_ids), k + MARGIN
        found = [np.zeros(0, np.int64)] * len(queries)
        open_rows = np.arange(len(queries) if size else 0)
        # Twice the bound on the rounding error of a float32 inner product in any order.
        slack = 2 * (queries.shape[1] + 1) * 2.0**-23 * _norms(queries) * self.longest
        while len(open_rows):
            fetch = min(fetch, size)
            scores, places = self.index.search(np.ascontiguousarray(queries[open_rows]), fetch)
            for row, row_places in zip(open_rows, places, strict=True):
                found[row] = np.sort(row_places[row_places >= 0])
            if fetch == size:
                break
            # FAISS fills up with -1 where it has no more to give.
            tied = (places[:, -1] >= 0) & (scores[:, -1] >= scores[:, k - 1] - slack[open_rows])
            open_rows, fetch = open_rows[tied], 2 * fetch
        return found

    def _blocks(self) -> range:
        return range(0, len(self.vectors), _BLOCK)


def _norms(vectors: np.ndarray) -> Any:
    import numpy as np

    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def _verify(folder: Path, number: int) -> None:
    try:
        sums = (folder / f"{number:05d}.sha256").read_text(encoding="ascii", errors="replace").splitlines()
        damaged = [ending for ending in _ENDINGS if _sum(folder, number, ending) not in sums]
    except FileNotFoundError as error:
        raise StorageError(f"{error.filename} is missing; delete {folder.parent} and run again") from None
    if damaged:
        path = folder / f"{number:05d}.{damaged[0]}"
        raise StorageError(f"{path} is damaged: it fails its checksum; delete {folder.parent} and run again")


def _sum(folder: Path, number: int, ending: str) -> str:
    """A file's checksum, as a line that ``sha256sum --check`` reads."""
    path = folder / f"{number:05d}.{ending}"
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}"
