"""Read VECTORS as numpy arrays: whole, of some ids, or memory-mapped from an INDEX."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from gradret.store.checksums import check

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.store.artifacts import Artifact

__all__ = ["MappedVectors", "as_matrix", "dimension", "find_vectors", "norms", "read_vectors"]


def as_matrix(rows: pa.Table) -> np.ndarray:
    """Return the vectors of ``rows`` as ``(rows, dimension)`` float32."""
    import numpy as np

    # Chunk by chunk: more than 2^31 numbers in one chunk overflow Arrow's list offsets.
    parts = [chunk.flatten().to_numpy() for chunk in rows["vector"].chunks]
    flat = np.concatenate(parts) if len(parts) > 1 else (parts or [np.zeros(0, np.float32)])[0]
    return flat.reshape(rows.num_rows, len(flat) // max(1, rows.num_rows)).astype(np.float32, copy=False)


def dimension(artifact: Artifact) -> int:
    """Return the dimension of the vectors; 0 if there are none."""
    import pyarrow.parquet as pq

    for path in artifact.shards("vectors"):
        for batch in pq.ParquetFile(check(path)).iter_batches(batch_size=1, columns=["vector"]):
            return len(batch["vector"][0])
    return 0


def read_vectors(artifact: Artifact) -> tuple[list[str], np.ndarray]:
    """Read all ids, sorted, and their vectors, ``(n, dimension)`` float32, into memory."""
    import numpy as np

    ids: list[str] = []
    parts = []
    for rows in artifact.batches("vectors"):
        if rows.num_rows:
            ids += rows["id"].to_pylist()
            parts.append(as_matrix(rows))
    order = sorted(range(len(ids)), key=ids.__getitem__)
    matrix = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    if order != list(range(len(ids))):
        ids, matrix = [ids[row] for row in order], matrix[order]
    return ids, matrix


def norms(vectors: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of each row, ``(n,)`` float64."""
    import numpy as np

    lengths: np.ndarray = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return lengths


def find_vectors(artifact: Artifact, ids: Collection[str]) -> dict[str, np.ndarray]:
    """Return the vectors of ``ids``, without ids that have none; memory holds one shard and the vectors found."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted, vectors = pa.array(sorted(set(ids)), pa.string()), dict[str, "np.ndarray"]()
    for shard in artifact.batches("vectors"):
        rows = shard.filter(pc.is_in(shard["id"], value_set=wanted))
        if rows.num_rows:
            vectors |= dict(zip(rows["id"].to_pylist(), as_matrix(rows), strict=True))
    return vectors


class MappedVectors:
    """The vectors and ids of an INDEX, memory-mapped, in the order of its VECTORS; a place is a row of them all."""

    def __init__(self, index: Artifact) -> None:
        import numpy as np
        import pyarrow as pa

        names = [f"shards/{number:05d}" for number in range(index.manifest["notes"]["shards"])]
        files = [pa.memory_map(str(index.file(f"{name}.ids.arrow"))) for name in names]
        tables = [pa.ipc.open_file(file).read_all() for file in files]
        self.ids = pa.chunked_array([chunk for table in tables for chunk in table["doc_id"].chunks], pa.string())
        # Plain arrays: rows of numpy's memmap class are memmaps too, which is slow.
        self.matrices = [np.asarray(np.load(index.file(f"{name}.npy"), mmap_mode="r")) for name in names]
        self.starts = np.cumsum([0, *map(len, self.matrices)])
        self.dimension: int = self.matrices[0].shape[1]
        self.longest = max(float(table.schema.metadata[b"longest"]) for table in tables)
        """The largest Euclidean norm of a vector."""

    def __len__(self) -> int:
        return int(self.starts[-1])

    def places(self, ids: Collection[str]) -> dict[str, int]:
        """Return the places of ``ids``, without ids that have no vector."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(sorted(set(ids)), pa.string())
        places = np.flatnonzero(pc.is_in(self.ids, value_set=wanted).to_numpy())
        return dict(zip(self.ids.take(pa.array(places)).to_pylist(), places.tolist(), strict=True))

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the vectors at ``places``, ``(n, dimension)`` float32."""
        import numpy as np

        vectors = np.empty((len(places), self.dimension), np.float32)
        numbers = np.searchsorted(self.starts, places, side="right") - 1
        for number in np.unique(numbers).tolist():
            (rows,) = (numbers == number).nonzero()
            vectors[rows] = self.matrices[number].take(places[rows] - self.starts[number], axis=0)
        return vectors

    def blocks(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all vectors in blocks of at most ``size``, each with the place of its first."""
        for start, matrix in zip(self.starts.tolist(), self.matrices, strict=False):
            for first in range(0, len(matrix), size):
                yield start + first, matrix[first : first + size]
