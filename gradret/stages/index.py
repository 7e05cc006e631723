"""Build the FAISS index of a model's document vectors, in shards: INDEX."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError, StorageError
from gradret.progress import say
from gradret.search.factory import choose, empty_index, is_exact, is_threaded, reason
from gradret.search.plan import Plan, check, free_disk, node_memory, plan, total_memory
from gradret.search.shard_files import file_sum, is_intact, shard_bytes, write_faiss, write_shard_files
from gradret.search.vectors import dimension
from gradret.stages.encode import encode
from gradret.store.artifacts import Artifact, Draft, make, read_shard, shard_metadata
from gradret.store.results import Result
from gradret.work.session import cores
from gradret.work.shards import Pool, map_shards, run_step

if TYPE_CHECKING:
    import faiss
    import numpy as np

    from gradret.config.run import Config

__all__ = ["build", "index"]


def index(config: Config, model: Artifact, ingested: Artifact) -> Artifact:
    """Build ``index.num_shards`` inner-product shards under ``shards``, with ids, vectors and checksums.

    An index type that needs training is trained once, on a sample of all vectors; every shard starts from the
    trained, empty index. If an earlier run found a damaged shard, only that shard is rebuilt. Notes hold what was
    built, its size, and why this type.

    Raises:
        ConfigError: FAISS rejects ``index.factory``, there are too few vectors to train it, or the index does not
            fit in memory or on disk; nothing is built then.
        StorageError: a vector is not finite, or has another dimension.
    """
    return build(config, model, encode(config, model, ingested, "docs"))


def build(config: Config, model: Artifact, vectors: Artifact) -> Artifact:
    """Build the index as ``index`` does, from the model's VECTORS."""
    factory, why = _factory(config, vectors)
    body = functools.partial(_index, config, vectors, factory, why)
    inputs = {"model": model, "vectors": vectors}
    # The reason is noted but not fingerprinted: it names this machine's memory.
    auto = factory != config.index.factory.strip()
    settings = {"factory": factory, "auto": auto, "num_shards": config.index.num_shards, "seed": config.seed}
    return make("index", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _factory(config: Config, vectors: Artifact) -> tuple[str, str]:
    """The FAISS factory string, and the reason for it."""
    given = config.index.factory.strip()
    if given != "auto":
        return given, "as configured"
    total = vectors.counts["rows_out"]
    chosen, why = choose(total, dimension(vectors), total_memory(config.index.resources.memory_gib))
    say(f"  index: auto chose {chosen}: {why}")
    return chosen, f"auto: {why}"


@dataclass(frozen=True)
class _Range:
    """Rows ``start`` to ``end`` of all VECTORS in stored order."""

    number: int
    start: int
    end: int


def _index(config: Config, vectors: Artifact, factory: str, why: str, draft: Draft) -> None:
    sources, resources = _sources(vectors), config.index.resources
    total, shards = sum(sources.values()), config.index.num_shards
    planned = plan(factory, total, dimension(vectors), shards, max(sources.values(), default=0))
    memory = node_memory(resources.memory_gib)
    check(planned, memory, _available_disk(draft))
    say(f"  index: {planned}")
    empty = None if is_exact(factory) else _train_empty(draft, sources, planned, config)
    bounds = [total * number // shards for number in range(shards + 1)]
    ranges = [_Range(number, bounds[number], bounds[number + 1]) for number in range(shards)]
    workers = min(shards, resources.actors or max(1, min(cores(), memory // planned.building)))
    threads = max(1, cores() // workers) if is_threaded(factory) else 1
    load = functools.partial(_Builder, sources, planned.dimension, empty, draft.path / "shards", threads)
    map_shards(draft, ranges, load, pool=Pool(workers, resources.gpus), total=total, unit="vectors")
    draft.counts.pop("rows_out")
    draft.notes |= {"shards": shards, "factory": factory, "why": why, "vectors": total}
    draft.notes |= {"dimension": planned.dimension, "metric": "inner product", "plan": planned.notes()}
    draft.notes["bytes"] = shard_bytes(draft.path / "shards")


def _available_disk(draft: Draft) -> int:
    """Bytes that the disk has for the index, including those of shards already written."""
    written = sum(path.stat().st_size for path in (draft.path / "shards").glob("*"))
    return free_disk(draft.path) + written


def _sources(vectors: Artifact) -> dict[Path, int]:
    """Shards of VECTORS and the number of rows in each."""
    return {path: shard_metadata(path).num_rows for path in vectors.shards("vectors")}


def _train_empty(draft: Draft, sources: dict[Path, int], planned: Plan, config: Config) -> Path:
    """Train, unless done before, the empty index that all shards start from; runs on a worker."""
    path, sums = draft.path / "empty.faiss", draft.path / "empty.sha256"
    if not (path.exists() and sums.exists() and sums.read_text(encoding="ascii") == file_sum(path)):
        draft.folder("shards")  # drop shards that start from another training
        resources = config.index.resources
        load = functools.partial(_Trainer, sources, planned, config.seed, gpu=resources.gpus > 0)
        run_step(draft, "train", [path], load, Pool(1, resources.gpus))
        sums.write_text(file_sum(path), encoding="ascii")
    return path


class _Trainer:
    """Trains the index on a uniform sample of all vectors and writes it, without vectors, to a path."""

    def __init__(self, sources: dict[Path, int], planned: Plan, seed: int, *, gpu: bool) -> None:
        self.sources, self.planned, self.seed, self.gpu = sources, planned, seed, gpu

    def __call__(self, path: Path) -> Result:
        import faiss

        planned = self.planned
        index = empty_index(planned.factory, planned.dimension)
        if planned.training:
            faiss.omp_set_num_threads(cores())
            index = self._train(index)
        write_faiss(index, path)
        return Result({}, planned.training, planned.training)

    def _train(self, index: faiss.Index) -> faiss.Index:
        import faiss

        from gradret.search.gpu import on_gpu

        sample = self._sample()
        moved = on_gpu(index) if self.gpu else None
        try:
            (moved or index).train(sample)
        except RuntimeError as error:
            raise ConfigError(
                f"index.factory={self.planned.factory}: FAISS cannot train it on {len(sample):,} vectors "
                f"of dimension {self.planned.dimension}: {reason(error)}"
            ) from error
        return faiss.index_gpu_to_cpu(moved) if moved else index

    def _sample(self) -> np.ndarray:
        import numpy as np

        draw = np.random.Generator(np.random.PCG64(self.seed))
        total = sum(self.sources.values())
        positions = np.sort(draw.choice(total, self.planned.training, replace=False, shuffle=False))
        sample = np.empty((len(positions), self.planned.dimension), np.float32)
        start = 0
        for path, size in self.sources.items():
            first, last = np.searchsorted(positions, [start, start + size])
            if first < last:
                _, matrix = _read(path, self.planned.dimension)
                sample[first:last] = matrix[positions[first:last] - start]
            start += size
        return sample


class _Builder:
    """Adds the vectors of a shard to the empty index."""

    def __init__(
        self, sources: dict[Path, int], dimension: int, empty: Path | None, folder: Path, threads: int
    ) -> None:
        self.sources, self.dimension, self.empty, self.folder = sources, dimension, empty, folder
        self.threads = threads

    def __call__(self, rows: _Range) -> Result:
        import faiss

        size = rows.end - rows.start
        if not is_intact(self.folder, rows.number):
            faiss.omp_set_num_threads(self.threads)
            index = faiss.read_index(str(self.empty)) if self.empty else None
            write_shard_files(self.folder, rows.number, self._batches(rows), (size, self.dimension), index)
        return Result({}, size, size)

    def _batches(self, wanted: _Range) -> Iterator[tuple[Any, np.ndarray]]:
        position = 0
        for path, size in self.sources.items():
            first, last = max(wanted.start - position, 0), min(wanted.end - position, size)
            if first < last:
                ids, matrix = _read(path, self.dimension)
                yield ids[first:last], matrix[first:last]
            position += size


def _read(path: Path, dimension: int) -> tuple[Any, np.ndarray]:
    """Ids (an Arrow array) and vectors, ``(rows, dimension)``, of a shard of VECTORS.

    Raises:
        StorageError: a vector is not finite or has another dimension.
    """
    import numpy as np

    from gradret.search.vectors import as_matrix

    rows = read_shard(path, "vectors")
    again = f"delete {path.parent.parent} and run again"
    try:
        matrix = as_matrix(rows)
    except ValueError:
        raise StorageError(f"{path}: vectors have different dimensions; {again}") from None
    if rows.num_rows and matrix.shape[1] != dimension:
        raise StorageError(f"{path}: vectors have dimension {matrix.shape[1]}, expected {dimension}; {again}")
    broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(broken):
        raise StorageError(f"{path}: the vector of {rows['id'][broken[0]].as_py()!r} is not finite; {again}")
    return rows["id"].combine_chunks(), matrix
