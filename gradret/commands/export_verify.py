"""Verify an exported model: it must reproduce the run's vectors of a sample of documents and test queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from gradret.errors import StageError, StorageError
from gradret.progress import say
from gradret.store.contracts import KEYS
from gradret.text import passage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.commands.export_source import Source
    from gradret.store.artifacts import Artifact

__all__ = ["Kind", "verify"]

Kind = Literal["docs", "queries"]

_SAMPLE = 100
_TOLERANCE = 1e-4
"""Largest difference of one number of a vector. Other batches sum in another order: a document that repeats a few words
over its whole length differs by 1.6e-5 in float32."""


def verify(source: Source, encode: Callable[[Kind, list[str]], np.ndarray]) -> None:
    """Compare an exported model's vectors with those that the run searched with.

    Args:
        source: the run.
        encode: returns the vectors of texts, ``(texts, dimension)``.

    Raises:
        StageError: a vector differs; names the worst text and its difference.
        StorageError: an artifact of the run is missing or damaged.
    """
    references: tuple[tuple[Kind, Artifact, Artifact], ...] = (
        ("docs", source.artifact("cut" if "cut" in source.lineage else "ingest"), source.vectors("index.tuned")),
        ("queries", source.artifact("queries"), source.vectors("search.tuned")),
    )
    for kind, texts, vectors in references:
        ids, inputs, expected = _sample(kind, texts, vectors)
        _compare(kind, ids, encode(kind, inputs), expected)


def _compare(kind: Kind, ids: list[str], got: np.ndarray, expected: np.ndarray) -> None:
    import numpy as np

    if got.shape != expected.shape:
        raise StageError(
            f"export: the model's vectors of {kind} have {got.shape[1]} dimensions, the run's {expected.shape[1]}"
        )
    # A vector that is not finite has an infinite difference.
    distances = np.nan_to_num(np.abs(got - expected).max(axis=1), nan=np.inf)
    worst = int(distances.argmax())
    if distances[worst] > _TOLERANCE:
        raise StageError(
            f"export: the model does not reproduce the run's vectors of "
            f"{np.count_nonzero(distances > _TOLERANCE)} of {len(ids)} {kind}: {ids[worst]!r} differs by "
            f"{distances[worst]:.2g}, more than {_TOLERANCE:g}. Nothing was written. If the run's model folder was "
            "changed after the run, delete it and run again"
        )
    say(f"export     {len(ids):,} {kind} verified, largest difference {distances[worst]:.1g}")


def _sample(kind: Kind, texts: Artifact, vectors: Artifact) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, input texts and the run's vectors of evenly spaced rows."""
    import numpy as np

    from gradret.search.vectors import as_matrix

    ids = vectors.table("vectors", ["id"])["id"]
    positions = np.linspace(0, len(ids) - 1, min(_SAMPLE, len(ids))).astype(int)
    encoded = _rows(vectors, "vectors", ids.take(positions))
    rows = _rows(texts, kind, ids.take(positions))
    inputs = rows["text"].to_pylist()
    if kind == "docs":
        inputs = [passage(title, text) for title, text in zip(rows["title"].to_pylist(), inputs, strict=True)]
    return encoded["id"].to_pylist(), inputs, as_matrix(encoded)


def _rows(artifact: Artifact, table: str, ids: pa.Array) -> pa.Table:
    """The rows with these ids, sorted by id; reads one shard at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    key = KEYS[table][0]
    parts = [batch.filter(pc.is_in(batch[key], ids)) for batch in artifact.batches(table)]
    rows = pa.concat_tables(parts).sort_by(key)
    if rows[key].to_pylist() != ids.to_pylist():
        raise StorageError(f"{artifact.path / table}: rows are missing; delete {artifact.path} and run again")
    return rows
