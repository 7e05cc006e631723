"""The VECTORS that an index is built from, cut to its dimension, read file by file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import StorageError
from gradret.models.similarity import similarity
from gradret.search.codes import cut
from gradret.search.vectors import as_matrix, dimension
from gradret.store.artifacts import Artifact, read_shard, shard_metadata

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.sizes import Size

__all__ = ["VectorFiles"]


@dataclass(frozen=True)
class VectorFiles:
    """The shards of VECTORS as one, in stored order."""

    sizes: dict[Path, int]
    """Their files, and the number of vectors in each."""
    full: int
    """Dimension of the stored vectors."""
    dimension: int
    """Dimension that they are cut to."""
    normalize: bool
    """Whether vectors that are cut are scaled to length 1."""

    @classmethod
    def of(cls, vectors: Artifact, model: Artifact, size: Size) -> VectorFiles:
        """The model's VECTORS, cut to the dimensions of ``size``."""
        sizes, full = {path: shard_metadata(path).num_rows for path in vectors.shards("vectors")}, dimension(vectors)
        return cls(sizes, full, size.of(full), similarity(model.path / "model") == "cosine")

    @property
    def total(self) -> int:
        """Number of all vectors."""
        return sum(self.sizes.values())

    def read(self, path: Path) -> tuple[Any, np.ndarray]:
        """Return ids (an Arrow array) and vectors, ``(rows, dimension)`` float32, of one of the files.

        Raises:
            StorageError: a vector is not finite, or has another dimension than ``full``.
        """
        import numpy as np

        rows = read_shard(path, "vectors")
        again = f"delete {path.parent.parent} and run again"
        try:
            matrix = as_matrix(rows)
        except ValueError:
            raise StorageError(f"{path}: vectors have different dimensions; {again}") from None
        if rows.num_rows and matrix.shape[1] != self.full:
            raise StorageError(f"{path}: vectors have dimension {matrix.shape[1]}, expected {self.full}; {again}")
        broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
        if len(broken):
            raise StorageError(f"{path}: the vector of {rows['id'][broken[0]].as_py()!r} is not finite; {again}")
        return rows["id"].combine_chunks(), cut(matrix, self.dimension, normalize=self.normalize)

    def batches(self, start: int, end: int) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield ids and vectors of the rows ``start`` to ``end``, file by file."""
        position = 0
        for path, size in self.sizes.items():
            first, last = max(start - position, 0), min(end - position, size)
            if first < last:
                ids, matrix = self.read(path)
                yield ids[first:last], matrix[first:last]
            position += size

    def sample(self, size: int, seed: int) -> np.ndarray:
        """Return ``size`` vectors drawn without replacement, in stored order, ``(size, dimension)``."""
        import numpy as np

        draw = np.random.Generator(np.random.PCG64(seed))
        positions = np.sort(draw.choice(self.total, size, replace=False, shuffle=False))
        sample = np.empty((len(positions), self.dimension), np.float32)
        start = 0
        for path, rows in self.sizes.items():
            first, last = np.searchsorted(positions, [start, start + rows])
            if first < last:
                _, matrix = self.read(path)
                sample[first:last] = matrix[positions[first:last] - start]
            start += rows
        return sample
