"""First and second moments of all vectors: mean and deviation of a query's inner products, without computing these."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradret.search.vectors import as_matrix
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.atomic import atomic
from gradret.store.mirror import fetched
from gradret.store.results import Result
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.run import Config

__all__ = ["Moments", "moments", "spread"]

_SHARDS_A_PART = 16
_SMALLEST = 1e-12
"""Share of the mean square below which a variance is rounding, and taken for 0."""


def moments(config: Config, vectors: Artifact) -> Artifact:
    """Write ``moments.npz``: the mean of VECTORS, and of their outer products, float64."""

    def _body(draft: Draft) -> None:
        _moments(vectors, draft)

    inputs = {"vectors": vectors}
    return make("moments", config.storage_path, module=__name__, settings={}, inputs=inputs, body=_body)


class Moments:
    """Moments of ``n`` vectors ``d``: ``E[d]`` and ``E[d d^T]``."""

    def __init__(self, artifact: Artifact) -> None:
        import numpy as np

        arrays = np.load(artifact.file("moments.npz"))
        self.mean: np.ndarray = arrays["mean"]
        self.square: np.ndarray = arrays["square"]

    def of(self, query: np.ndarray) -> tuple[float, float]:
        """Return mean and standard deviation of the inner products of ``query``, ``(d,)``, with all vectors."""
        import numpy as np

        wide = query.astype(np.float64)
        return spread(float(wide @ self.mean), float(wide @ self.square @ wide))


def spread(mean: float, square: float) -> tuple[float, float]:
    """Return mean and standard deviation of numbers, given their mean and the mean of their squares."""
    variance = square - mean**2
    return mean, variance**0.5 if variance > _SMALLEST * square else 0.0


def _moments(vectors: Artifact, draft: Draft) -> None:
    import numpy as np

    parts = draft.path / "work" / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    # Parts do not depend on the number of workers, so neither does the order of the sums.
    shards = vectors.shards("vectors")
    items = [
        (shards[start : start + _SHARDS_A_PART], parts / f"{start:05d}.npz")
        for start in range(0, len(shards), _SHARDS_A_PART)
    ]
    map_shards(draft, items, lambda: _sum)
    sums = [np.load(fetched(path)) for _, path in items]
    rows = sum(int(part["rows"]) for part in sums)
    mean, square = (sum(part[name] for part in sums) / rows for name in ("mean", "square"))
    np.savez(draft.path / "moments.npz", mean=mean, square=square)


def _sum(item: tuple[list[Path], Path]) -> Result:
    """Write the sums over some shards."""
    import numpy as np

    paths, target = item
    matrices = (as_matrix(read_shard(path, "vectors")).astype(np.float64) for path in paths)
    sums = [(len(matrix), matrix.sum(axis=0), matrix.T @ matrix) for matrix in matrices if len(matrix)]
    rows = sum(count for count, _, _ in sums)
    mean, square = sum(mean for _, mean, _ in sums), sum(square for _, _, square in sums)
    with atomic(target) as draft, draft.open("wb") as file:
        np.savez(file, rows=rows, mean=mean, square=square)
    return Result({}, rows, rows)
