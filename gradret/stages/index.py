"""Build the FAISS shards of a model over all documents: INDEX."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.artifacts import Artifact, Draft, make, read_shard
from gradret.errors import ConfigError
from gradret.stages._map import Result, map_shards
from gradret.stages.encode import encode

if TYPE_CHECKING:
    import faiss
    import numpy as np

    from gradret.config import Config

__all__ = ["index"]

_TRAINING_VECTORS = 100_000


def index(config: Config, model: Artifact, ingested: Artifact) -> Artifact:
    """``index.num_shards`` FAISS shards under ``shards``, inner product, with ids, vectors and checksums.

    A type that has to be trained is trained once, on a sample of all vectors, and every shard
    starts from the trained, empty index.

    Raises:
        ConfigError: FAISS does not know ``index.factory``, or there are too few vectors to train it.
    """
    if config.index.num_shards < 1:
        raise ConfigError(f"index.num_shards={config.index.num_shards}: there must be at least one")
    vectors = encode(config, model, ingested, "docs")
    body = functools.partial(_index, config, vectors)
    inputs = {"model": model, "vectors": vectors}
    settings = {"index": config.index, "seed": config.seed}
    return make("index", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


@dataclass(frozen=True)
class _Range:
    """Rows ``start`` to ``end`` of all VECTORS in stored order."""

    number: int
    start: int
    end: int


def _index(config: Config, vectors: Artifact, draft: Draft) -> None:
    total, shards = vectors.counts["rows_out"], config.index.num_shards
    bounds = [total * number // shards for number in range(shards + 1)]
    ranges = [_Range(number, bounds[number], bounds[number + 1]) for number in range(shards)]
    empty = draft.path / "empty.faiss"
    if not empty.exists():
        _write_empty(config, vectors, empty)
    load = functools.partial(_Builder, vectors.shards("vectors"), empty, draft.path / "shards")
    map_shards(draft, ranges, load, total=total, unit="vectors")
    draft.counts.pop("rows_out")
    draft.notes["shards"] = shards


def _write_empty(config: Config, vectors: Artifact, path: Path) -> None:
    import faiss
    import numpy as np

    sample = _sample(vectors, config.seed)
    try:
        index: faiss.Index = faiss.index_factory(sample.shape[1], config.index.factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(np.ascontiguousarray(sample))
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2].strip() or str(error)
        raise ConfigError(
            f"index.factory={config.index.factory}: FAISS refuses it for {len(sample):,} training vectors "
            f"of dimension {sample.shape[1]}: {reason}"
        ) from error
    draft = path.with_name(".empty.faiss")
    faiss.write_index(index, str(draft))
    draft.replace(path)


def _sample(vectors: Artifact, seed: int) -> np.ndarray:
    """Vectors to train an index on: drawn evenly from all of them."""
    import numpy as np

    from gradret.dense.vectors import as_matrix

    total = vectors.counts["rows_out"]
    share = min(1.0, _TRAINING_VECTORS / total)
    draw = np.random.Generator(np.random.PCG64(seed))
    parts = []
    for rows in vectors.batches("vectors"):
        if not rows.num_rows:
            continue
        matrix = as_matrix(rows)
        parts.append(matrix[draw.random(len(matrix)) < share] if share < 1 else matrix)
    return np.concatenate(parts)


class _Builder:
    def __init__(self, sources: list[Path], empty: Path, folder: Path) -> None:
        self.sources, self.empty, self.folder = sources, empty, folder

    def __call__(self, rows: _Range) -> Result:
        import faiss

        from gradret.dense.shards import write_shard_files

        index = faiss.read_index(str(self.empty))
        doc_ids, vectors = self._read(rows, index.d)
        index.add(vectors)
        write_shard_files(self.folder, rows.number, index, doc_ids, vectors)
        return Result({}, len(doc_ids), len(doc_ids))

    def _read(self, wanted: _Range, dimension: int) -> tuple[list[str], np.ndarray]:
        import numpy as np
        import pyarrow.parquet as pq

        from gradret.dense.vectors import as_matrix

        position, ids, parts = 0, [], []
        for path in self.sources:
            size = pq.read_metadata(path).num_rows
            first, last = max(wanted.start - position, 0), min(wanted.end - position, size)
            if first < last:
                rows = read_shard(path, "vectors").slice(first, last - first)
                ids += rows["id"].to_pylist()
                parts.append(as_matrix(rows))
            position += size
        # With more shards than vectors some shards are empty.
        return ids, np.concatenate(parts) if parts else np.zeros((0, dimension), np.float32)
