"""Plan an index before building it: memory per worker, disk, and what would fit if this does not."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.config.sizes import Size, is_coded
from gradret.errors import ConfigError
from gradret.search.codes import SAMPLE
from gradret.search.factory import bytes_a_vector, choose, empty_index, is_exact, lists, training_size

if TYPE_CHECKING:
    import faiss

__all__ = ["Plan", "check", "free_disk", "gib", "node_memory", "plan", "total_memory"]

_PROCESS = 450 << 20
"""Bytes of a Ray worker that has imported FAISS, numpy and pyarrow."""
_ID = 32
"""Bytes per doc_id: the text, its offset, and its copy while it is read."""
_READ_COPIES, _GROWTH_COPIES, _TRAINING_COPIES = 3, 2, 4
"""Copies of the vectors being read; of the codes while their array grows; of the training vectors."""


@dataclass(frozen=True)
class Plan:
    """The plan of an index. Sizes are in bytes."""

    factory: str
    vectors: int
    dimension: int
    shards: int
    buffer: int
    """Vectors read at a time."""
    a_vector: float
    """Bytes per vector of the FAISS index, beside the vectors; 0 for exact search, which uses the vectors."""
    trained: int
    """Bytes of the trained, empty index."""
    training: int
    """Number of vectors to train on."""
    vector_bytes: int
    """Bytes per vector as it is stored: float32, or its code."""

    @property
    def rows(self) -> int:
        """Number of vectors in the largest shard."""
        return math.ceil(self.vectors / self.shards)

    @property
    def building(self) -> int:
        """Memory of a worker that builds a shard: the process, vectors being read, ids, the growing index."""
        index = _GROWTH_COPIES * self.rows * self.a_vector + self.trained
        return int(_PROCESS + _READ_COPIES * self.buffer * 4 * self.dimension + self.rows * _ID + index)

    @property
    def learning(self) -> int:
        """Memory of the worker that trains; 0 if there is no training."""
        if not self.training:
            return 0
        read = (_TRAINING_COPIES * self.training + _READ_COPIES * self.buffer) * 4 * self.dimension
        return _PROCESS + read + 2 * self.trained

    @property
    def shard(self) -> int:
        """Size of the part of a shard that is searched."""
        return int(self.rows * (self.a_vector or self.vector_bytes) + self.trained)

    @property
    def disk(self) -> int:
        """Size of all shards on disk: vectors, ids and index."""
        return int(self.vectors * (self.vector_bytes + _ID + self.a_vector) + self.shards * self.trained)

    def notes(self) -> dict[str, Any]:
        """Return the numbers for the manifest."""
        return {
            "index_bytes_a_vector": self.a_vector,
            "vector_bytes": self.vector_bytes,
            "training_vectors": self.training,
            "builder_bytes": self.building,
            "trainer_bytes": self.learning,
            "shard_bytes": self.shard,
            "disk_bytes": self.disk,
        }

    def __str__(self) -> str:
        learning = f"{gib(self.learning)} to train on {self.training:,} vectors; " if self.training else ""
        return (
            f"{self.factory}: {self.vectors:,} vectors of dimension {self.dimension} in {self.shards} shards; "
            f"{learning}{gib(self.building)} to build a shard, {gib(self.shard)} to search it, {gib(self.disk)} on disk"
        )


def plan(factory: str, vectors: int, dimension: int, shards: int, buffer: int) -> Plan:
    """Plan an index.

    Args:
        factory: a FAISS factory string, or ``int8`` or ``binary``, whose codes are stored in place of the vectors.
        vectors: number of vectors.
        dimension: their dimension.
        shards: number of shards.
        buffer: vectors read at a time.

    Raises:
        ConfigError: FAISS rejects the factory string.
    """
    if is_coded(factory):
        width, sample = Size(vectors=factory).width(dimension), min(vectors, SAMPLE)
        return Plan(factory, vectors, dimension, shards, buffer, 0.0, 8 * dimension, sample, width)
    whole = 4 * dimension
    if is_exact(factory):
        return Plan(factory, vectors, dimension, shards, buffer, 0.0, 0, 0, whole)
    index = empty_index(factory, dimension)
    trained = 4 * dimension * lists(index) + _transforms(index)
    training = training_size(index, vectors)
    return Plan(factory, vectors, dimension, shards, buffer, bytes_a_vector(index), trained, training, whole)


def _transforms(index: faiss.Index) -> int:
    """Return an upper bound on the bytes of rotation matrices and of a product quantizer's 256 centroids."""
    return 4 * index.d * (index.d + 256)


def check(planned: Plan, memory: int, disk: int) -> None:
    """Check that a plan fits; the error says what would.

    Args:
        planned: the plan.
        memory: bytes that a node may use for building.
        disk: free bytes where the index is written.

    Raises:
        ConfigError: the message lists everything that does not fit.
    """
    problems = []
    if planned.learning > memory:
        problems.append(
            f"training {planned.factory} on {planned.training:,} vectors takes {gib(planned.learning)}"
            f"{_limit_text(memory)}; {_suggest_factory(planned, memory)}"
        )
    elif planned.building > memory:
        problems.append(
            f"building a shard of {planned.rows:,} vectors takes {gib(planned.building)}{_limit_text(memory)}; "
            f"{_suggest_shards(planned, memory)}"
        )
    if planned.disk > disk:
        vector_bytes = planned.vectors * planned.vector_bytes
        problems.append(
            f"the index takes {gib(planned.disk)} on disk, but only {gib(disk)} are free; free some, or set "
            f"storage_path to another disk (any index type stores the vectors, {gib(vector_bytes)})"
        )
    if problems:
        where = f"index.factory={planned.factory}, index.num_shards={planned.shards}"
        raise ConfigError("\n".join([f"{where} does not fit:", *(f"  {problem}" for problem in problems)]))


def _limit_text(memory: int) -> str:
    return f", but a node may use {gib(memory)} (index.resources.memory_gib)"


def _suggest_shards(planned: Plan, memory: int) -> str:
    """Suggest the smallest number of shards that fits, if any does."""
    least = replace(planned, shards=max(1, planned.vectors)).building
    if least > memory:
        return _suggest_factory(planned, memory)
    per_row = _ID + _GROWTH_COPIES * planned.a_vector
    fixed = planned.building - int(planned.rows * per_row)
    shards = math.ceil(planned.vectors / max(1, math.floor((memory - fixed) / per_row)))
    return f"index.num_shards={shards} fits"


def _suggest_factory(planned: Plan, memory: int) -> str:
    """Suggest a factory string that fits, if there is one."""
    chosen, _ = choose(planned.vectors, planned.dimension, memory)
    for factory in dict.fromkeys((chosen, "Flat")):
        candidate = plan(factory, planned.vectors, planned.dimension, planned.shards, planned.buffer)
        if max(candidate.learning, candidate.building) <= memory:
            return f"index.factory={factory} fits"
    return "no index type fits: the nodes need more memory"


def node_memory(given_gib: float) -> int:
    """Return the bytes a node may use for building: as given, else 80% of this machine's, or what is free."""
    if given_gib:
        return int(given_gib * 2**30)
    return min(_machine_memory() * 4 // 5, _available_memory())


def _machine_memory() -> int:
    """Return the bytes of memory of this machine, or the container's limit."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    path = Path("/sys/fs/cgroup/memory.max")
    text = path.read_text(encoding="ascii").strip() if path.is_file() else "max"
    return min(physical, int(text)) if text.isdigit() else physical


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return _machine_memory()


def total_memory(given_gib: float) -> int:
    """Return ``node_memory`` regardless of current load, so that choices based on it are stable."""
    return int(given_gib * 2**30) if given_gib else _machine_memory() * 4 // 5


def free_disk(path: Path) -> int:
    """Return the free bytes on the disk of ``path`` or of its nearest existing parent."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def gib(size: float) -> str:
    """Format bytes as ``1.5 GiB`` or ``320 MiB``."""
    return f"{size / 2**30:,.1f} GiB" if size >= 1 << 30 else f"{size / 2**20:,.0f} MiB"
