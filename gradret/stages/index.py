"""Build the FAISS index of a model's document vectors, in shards: INDEX."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.config.sizes import WHOLE, Size, is_coded
from gradret.errors import ConfigError
from gradret.progress import say
from gradret.search.codes import Codec, fit
from gradret.search.factory import choose, empty_index, is_threaded, reason
from gradret.search.plan import Plan, check, free_disk, node_memory, plan, total_memory
from gradret.search.shard_files import file_sum, is_intact, shard_bytes, shard_sums, write_faiss, write_shard_files
from gradret.search.vector_files import VectorFiles
from gradret.search.vectors import dimension
from gradret.stages.base import title
from gradret.stages.encode import encode
from gradret.store.artifacts import Artifact, Draft, make
from gradret.store.atomic import atomic, write_text
from gradret.store.mirror import fetched
from gradret.store.results import Result
from gradret.work.nodes import count_cores, count_nodes
from gradret.work.session import connect, cores
from gradret.work.shards import map_shards, run_step

if TYPE_CHECKING:
    import faiss

    from gradret.config.run import Config

__all__ = ["build", "index"]


def index(config: Config, model: Artifact, ingested: Artifact, size: Size = WHOLE) -> Artifact:
    """Build ``index.num_shards`` inner-product shards under ``shards``, with ids, vectors and checksums.

    With a ``size`` of fewer dimensions, vectors are cut before they are indexed; with one of fewer bits, codes are
    stored in place of vectors, and searched without a FAISS index. An index type that needs training is trained once,
    on a sample of all vectors; every shard starts from the trained, empty index. If an earlier run found a damaged
    shard, only that shard is rebuilt. Notes hold what was built, its size, and why this type.

    Raises:
        ConfigError: FAISS rejects ``index.factory``, there are too few vectors to train it, or the index does not
            fit in memory or on disk; nothing is built then.
        StorageError: a vector is not finite, or has another dimension.
    """
    return build(config, model, encode(config, model, ingested, "docs"), size)


def build(config: Config, model: Artifact, vectors: Artifact, size: Size = WHOLE) -> Artifact:
    """Build the index as ``index`` does, from the model's VECTORS."""
    if size.dimensions:
        size.check(dimension(vectors), "search.dimensions")
    factory, why = _factory(config, vectors, size)

    def _body(draft: Draft) -> None:
        _index(config, VectorFiles.of(vectors, model, size), factory, why, draft)

    inputs = {"model": model, "vectors": vectors}
    # The reason is noted but not fingerprinted: it names this machine's memory.
    auto = factory != config.index.factory.strip()
    settings: dict[str, object] = {"factory": factory, "auto": auto, "num_shards": config.index.num_shards}
    settings |= {"seed": config.seed} | ({"size": size} if size != WHOLE else {})
    return make(
        "index", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=_body, about=title(model)
    )


def _factory(config: Config, vectors: Artifact, size: Size) -> tuple[str, str]:
    """The FAISS factory string, or the precision of the codes, and the reason for it."""
    given = config.index.factory.strip()
    if size.vectors != "float32":
        return size.vectors, "as configured"
    if given != "auto":
        return given, "as configured"
    total, memory = vectors.counts["rows_out"], total_memory(config.index.resources.memory_gib)
    chosen, why = choose(total, size.of(dimension(vectors)), memory)
    say(f"  index: auto chose {chosen}: {why}")
    return chosen, f"auto: {why}"


@dataclass(frozen=True)
class _Range:
    """Rows ``start`` to ``end`` of all VECTORS in stored order."""

    number: int
    start: int
    end: int


def _index(config: Config, source: VectorFiles, factory: str, why: str, draft: Draft) -> None:
    resources, shards, total = config.index.resources, config.index.num_shards, source.total
    planned = plan(factory, total, source.dimension, shards, max(source.sizes.values(), default=0))
    connect()
    memory, nodes = node_memory(resources.memory_gib), max(1, count_nodes())
    check(planned, memory, _available_disk(draft))
    say(f"  index: {planned}", "detail")
    start = None if factory == "Flat" else _train_start(draft, source, planned, config)
    bounds = [total * number // shards for number in range(shards + 1)]
    ranges = [_Range(number, bounds[number], bounds[number + 1]) for number in range(shards)]
    workers = min(shards, resources.actors or max(1, min(count_cores(), nodes * (memory // planned.building))))
    threads = max(1, count_cores() // workers) if is_threaded(factory) else 1
    load = functools.partial(_Builder, source, planned, start, draft.path / "shards", threads)
    # Only training uses a GPU; adding vectors does not.
    builders = replace(resources, actors=workers, gpus=0.0)
    map_shards(draft, ranges, load, workers=builders, total=total, unit="vectors")
    draft.counts.pop("rows_out")
    draft.notes |= {"shards": shards, "factory": factory, "why": why, "vectors": total}
    draft.notes |= {"dimension": planned.dimension, "metric": "inner product", "plan": planned.notes()}
    draft.notes |= {"normalize": source.normalize, "bytes": shard_bytes(draft.files)}


def _available_disk(draft: Draft) -> int:
    """Bytes that the disk has for the index, including those of shards already written."""
    written = sum(path.stat().st_size for path in (draft.path / "shards").glob("*"))
    return free_disk(draft.path) + written


def _train_start(draft: Draft, source: VectorFiles, planned: Plan, config: Config) -> Path:
    """Train, unless done before, what all shards start from: the empty index, or the scales of codes; on a worker."""
    path = draft.path / ("scales.npy" if is_coded(planned.factory) else "empty.faiss")
    sums = draft.path / "empty.sha256"
    trained = fetched(path).exists() and fetched(sums).exists()
    if not (trained and sums.read_text(encoding="ascii") == file_sum(path)):
        draft.folder("shards")  # drop shards that start from another training
        resources = config.index.resources
        load = functools.partial(_Trainer, source, planned, config.seed, gpu=resources.gpus > 0)
        run_step(draft, "train", [path], load, replace(resources, actors=1))
        write_text(sums, [file_sum(fetched(path))])
    return path


class _Trainer:
    """Trains the index, or scales, on a uniform sample of all vectors, and writes it, without vectors, to a path."""

    def __init__(self, source: VectorFiles, planned: Plan, seed: int, *, gpu: bool) -> None:
        self.source, self.planned, self.seed, self.gpu = source, planned, seed, gpu

    def __call__(self, path: Path) -> Result:
        import faiss
        import numpy as np

        planned = self.planned
        with atomic(path) as draft:
            if is_coded(planned.factory):
                with draft.open("wb") as file:  # np.save would add an ending to the name
                    np.save(file, fit(planned.factory, self.source.sample(planned.training, self.seed)).scales)
                return Result({}, planned.training, planned.training)
            index = empty_index(planned.factory, planned.dimension)
            if planned.training:
                faiss.omp_set_num_threads(cores())
                index = self._train(index)
            write_faiss(index, draft)
        return Result({}, planned.training, planned.training)

    def _train(self, index: faiss.Index) -> faiss.Index:
        import faiss

        from gradret.search.gpu import on_gpu

        sample = self.source.sample(self.planned.training, self.seed)
        moved = on_gpu(index) if self.gpu else None
        try:
            (moved or index).train(sample)
        except RuntimeError as error:
            raise ConfigError(
                f"index.factory={self.planned.factory}: FAISS cannot train it on {len(sample):,} vectors "
                f"of dimension {self.planned.dimension}: {reason(error)}"
            ) from error
        return faiss.index_gpu_to_cpu(moved) if moved else index


class _Builder:
    """Adds the vectors of a shard to the empty index, or writes their codes."""

    def __init__(self, source: VectorFiles, planned: Plan, start: Path | None, folder: Path, threads: int) -> None:
        self.source, self.start, self.folder, self.threads = source, start, folder, threads
        self.precision = planned.factory

    def __call__(self, rows: _Range) -> Result:
        size = rows.end - rows.start
        if not is_intact(self.folder, rows.number):
            index, codec = self._start()
            batches, shape = self.source.batches(rows.start, rows.end), (size, self.source.dimension)
            write_shard_files(self.folder, rows.number, batches, shape, index, codec=codec)
        return Result({}, size, size, files=shard_sums(self.folder, rows.number))

    def _start(self) -> tuple[faiss.Index | None, Codec | None]:
        import faiss
        import numpy as np

        faiss.omp_set_num_threads(self.threads)
        if self.start is None:
            return None, None
        path = fetched(self.start)
        if is_coded(self.precision):
            return None, Codec(self.precision, np.load(path))
        return faiss.read_index(str(path)), None
