"""What building an index takes, before it is built: memory of each worker, disk, and what would fit if it does not."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError
from gradret.search.factory import bytes_a_vector, choose, empty_index, is_exact, lists, training_size

if TYPE_CHECKING:
    import faiss

__all__ = ["Plan", "check", "free_disk", "gib", "node_memory", "plan", "total_memory"]

_PROCESS = 450 << 20
"""Bytes of a Ray worker that has imported FAISS, numpy and pyarrow."""
_ID = 32
"""Bytes of a doc_id: the text, where it begins, and its copy while it is read."""
_READ, _GROWN, _TRAINED = 3, 2, 4
"""Copies of what is read from VECTORS; of codes while their memory grows; of the training vectors."""


@dataclass(frozen=True)
class Plan:
    """An index before it is built. Sizes are bytes."""

    factory: str
    vectors: int
    dimension: int
    shards: int
    buffer: int
    """Vectors that are read at a time."""
    a_vector: float
    """Of the FAISS index beside the vectors; 0 for exact search, which takes the vectors themselves."""
    trained: int
    """What the trained, empty index holds."""
    training: int
    """Vectors to train on."""

    @property
    def rows(self) -> int:
        """Vectors of the largest shard."""
        return math.ceil(self.vectors / self.shards)

    @property
    def building(self) -> int:
        """Memory of a worker that builds a shard: the process, what it reads, the ids, the index while it grows."""
        index = _GROWN * self.rows * self.a_vector + self.trained
        return int(_PROCESS + _READ * self.buffer * 4 * self.dimension + self.rows * _ID + index)

    @property
    def learning(self) -> int:
        """Memory of the worker that trains; 0 if nobody has to."""
        if not self.training:
            return 0
        read = (_TRAINED * self.training + _READ * self.buffer) * 4 * self.dimension
        return _PROCESS + read + 2 * self.trained

    @property
    def shard(self) -> int:
        """What of a shard is searched in."""
        return int(self.rows * (self.a_vector or 4 * self.dimension) + self.trained)

    @property
    def disk(self) -> int:
        """All shards: vectors, ids and index."""
        return int(self.vectors * (4 * self.dimension + _ID + self.a_vector) + self.shards * self.trained)

    def notes(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "index_bytes_a_vector": self.a_vector,
            "vector_bytes": 4 * self.dimension,
            "training_vectors": self.training,
            "builder_bytes": self.building,
            "trainer_bytes": self.learning,
            "shard_bytes": self.shard,
            "disk_bytes": self.disk,
        }

    def __str__(self) -> str:
        learning = f"{self.training:,} vectors to train on, {gib(self.learning)}; " if self.training else ""
        return (
            f"{self.factory}: {self.vectors:,} vectors of {self.dimension} in {self.shards} shards; {learning}"
            f"a builder takes {gib(self.building)}, a shard {gib(self.shard)} to search in, the disk {gib(self.disk)}"
        )


def plan(factory: str, vectors: int, dimension: int, shards: int, buffer: int) -> Plan:
    """What it takes.

    Args:
        factory: a FAISS factory string.
        vectors: how many.
        dimension: of each.
        shards: how many.
        buffer: vectors that are read at a time.

    Raises:
        ConfigError: FAISS refuses the factory string.
    """
    if is_exact(factory):
        return Plan(factory, vectors, dimension, shards, buffer, 0.0, 0, 0)
    index = empty_index(factory, dimension)
    trained = 4 * dimension * lists(index) + _transforms(index)
    return Plan(
        factory, vectors, dimension, shards, buffer, bytes_a_vector(index), trained, training_size(index, vectors)
    )


def _transforms(index: faiss.Index) -> int:
    """Matrices that vectors are turned by, and a product quantizer's 256 centroids: squares of the dimension."""
    return 4 * index.d * (index.d + 256)


def check(planned: Plan, memory: int, disk: int) -> None:
    """Refuse what does not fit, and say what would.

    Args:
        planned: the index.
        memory: bytes that building may take on a node.
        disk: bytes that are free where it is written.

    Raises:
        ConfigError: names each thing that does not fit.
    """
    problems = []
    if planned.learning > memory:
        problems.append(
            f"training {planned.factory} on {planned.training:,} vectors takes {gib(planned.learning)}"
            f"{_of(memory)}; {_other(planned, memory)}"
        )
    elif planned.building > memory:
        problems.append(
            f"building a shard of {planned.rows:,} vectors takes {gib(planned.building)}{_of(memory)}; "
            f"{_more_shards(planned, memory)}"
        )
    if planned.disk > disk:
        problems.append(
            f"the index takes {gib(planned.disk)} on disk, and {gib(disk)} are free; free some, or set storage_path "
            f"to another disk: {gib(planned.vectors * 4 * planned.dimension)} are the vectors, which any type needs"
        )
    if problems:
        where = f"index.factory={planned.factory}, index.num_shards={planned.shards}"
        raise ConfigError("\n".join([f"{where} does not fit:", *(f"  {problem}" for problem in problems)]))


def _of(memory: int) -> str:
    return f", and a node may give {gib(memory)} (index.resources.memory_gib)"


def _more_shards(planned: Plan, memory: int) -> str:
    """The fewest shards that fit, if any do."""
    least = replace(planned, shards=max(1, planned.vectors)).building
    if least > memory:
        return _other(planned, memory)
    a_row = _ID + _GROWN * planned.a_vector
    fixed = planned.building - int(planned.rows * a_row)
    shards = math.ceil(planned.vectors / max(1, math.floor((memory - fixed) / a_row)))
    return f"index.num_shards={shards} fits"


def _other(planned: Plan, memory: int) -> str:
    """A factory string that fits, if one does."""
    chosen, _ = choose(planned.vectors, planned.dimension, memory)
    for factory in dict.fromkeys((chosen, "Flat")):
        found = plan(factory, planned.vectors, planned.dimension, planned.shards, planned.buffer)
        if max(found.learning, found.building) <= memory:
            return f"index.factory={factory} fits"
    return "no type fits: a node needs more memory"


def node_memory(given_gib: float) -> int:
    """Bytes that building may take on a node: as given, or four fifths of this machine's, or less if less is free."""
    if given_gib:
        return int(given_gib * 2**30)
    return min(_limit() * 4 // 5, _free())


def _limit() -> int:
    """Bytes of this machine, or of the container."""
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    path = Path("/sys/fs/cgroup/memory.max")
    text = path.read_text(encoding="ascii").strip() if path.is_file() else "max"
    return min(have, int(text)) if text.isdigit() else have


def _free() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return _limit()


def total_memory(given_gib: float) -> int:
    """As ``node_memory``, but the same whatever else the machine is doing, so that a choice made by it stays."""
    return int(given_gib * 2**30) if given_gib else _limit() * 4 // 5


def free_disk(path: Path) -> int:
    """Bytes that are free where ``path``, or its first parent that there is, lies."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def gib(size: float) -> str:
    """``1.5 GiB``, ``320 MiB``."""
    return f"{size / 2**30:,.1f} GiB" if size >= 1 << 30 else f"{size / 2**20:,.0f} MiB"
