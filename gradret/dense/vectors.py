"""Read VECTORS as numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.artifacts import Artifact

__all__ = ["as_matrix", "read_vectors"]


def as_matrix(rows: pa.Table) -> np.ndarray:
    """The vectors of ``rows`` as ``(rows, dimension)`` float32."""
    vectors = rows["vector"].combine_chunks()
    matrix: np.ndarray = vectors.flatten().to_numpy().reshape(rows.num_rows, -1)
    return matrix


def read_vectors(artifact: Artifact) -> tuple[list[str], np.ndarray]:
    """Ids, sorted, and their vectors, ``(n, dimension)`` float32. For what fits in memory."""
    rows = artifact.table("vectors")
    return rows["id"].to_pylist(), as_matrix(rows)
