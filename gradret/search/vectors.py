"""Read VECTORS as numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.store.artifacts import Artifact

__all__ = ["as_matrix", "dimension", "norms", "read_vectors"]


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
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1, columns=["vector"]):
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
