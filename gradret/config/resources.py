"""What the workers of a stage take of a cluster; affects speed only, and is never fingerprinted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradret.components import unknown
from gradret.config.fields import at_least, require

__all__ = [
    "CompareResources",
    "EncodeResources",
    "IndexResources",
    "Placement",
    "TrainResources",
    "Workers",
    "ray_options",
]

_TRACKERS = ("mlflow", "wandb")

_SOME = 0.001
"""How much of a node's ``accelerator_type:...`` a worker takes, as Ray does itself."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which nodes workers run on."""

    accelerator_type: str = ""
    """Run only on nodes with this GPU, by Ray's name for it: ``A100``, ``H100``, ``L4``, ...; empty takes any."""
    memory: float = 0.0
    """GiB of memory per worker. Ray places no more workers on a node than its memory is enough for; 0 counts none."""
    custom: dict[str, float] = field(default_factory=dict, hash=False)
    """Ray's custom resources per worker, such as ``{spot: 0.01}``: runs only on nodes that were started with them."""
    wait_minutes: float = 30.0
    """How long to wait for nodes that a cluster must start first; then the stage fails."""

    def __post_init__(self) -> None:
        amounts = [at_least(0, amount) for amount in self.custom.values()]
        require(
            memory=at_least(0, self.memory),
            custom=next(filter(None, amounts), ""),
            wait_minutes=at_least(0, self.wait_minutes),
        )

    def bundle(self, cpus: float = 1.0, gpus: float = 0.0) -> dict[str, float]:
        """What one worker takes of a node, by the names of Ray's resources; memory in bytes."""
        amounts = {"CPU": cpus, "GPU": gpus, "memory": int(self.memory * 2**30), **self.custom}
        if self.accelerator_type:
            amounts[f"accelerator_type:{self.accelerator_type}"] = _SOME
        return {name: amount for name, amount in amounts.items() if amount}


def ray_options(bundle: Mapping[str, float]) -> dict[str, Any]:
    """A bundle as options of a Ray task or actor."""
    named = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
    options: dict[str, Any] = {named[name]: amount for name, amount in bundle.items() if name in named}
    rest = {name: amount for name, amount in bundle.items() if name not in named}
    return options | ({"resources": rest} if rest else {})


@dataclass(frozen=True)
class Workers(Placement):
    """Ray workers of a stage."""

    actors: int = 0
    """Number of workers in parallel; 0 uses as many as the cluster has cores, or GPUs if they use these."""
    gpus: float = 0.0
    """GPUs per worker."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(actors=at_least(0, self.actors), gpus=at_least(0, self.gpus))


@dataclass(frozen=True)
class EncodeResources(Workers):
    """Ray workers that encode; without GPUs, ``actors`` 0 uses one per node."""

    threads: int = 0
    """CPU threads per worker; 0 uses all cores of the machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(threads=at_least(0, self.threads))


@dataclass(frozen=True)
class TrainResources(Placement):
    """Workers that train; with dropout, ``chunk_size`` also decides the dropout masks."""

    num_workers: int = 1
    """Number of training workers; each computes a part of every batch."""
    min_workers: int = 0
    """Fewest workers to go on with when nodes are lost and none come for them; 0 waits for ``num_workers``. The result
    of fewer workers differs in its last bits."""
    chunk_size: int = 4096
    """Number of texts encoded at once; bounds the memory of activations."""
    checkpoint_every: int = 0
    """Steps between checkpoints; 0 writes one after each epoch only."""
    threads: int = 0
    """CPU threads per worker; 0 uses all cores."""
    gpus: float = 0.0
    """GPUs per worker."""
    trackers: tuple[str, ...] = ()
    """Experiment trackers that get the training curve, ``mlflow`` and ``wandb``: their packages must be installed where
    the run is started, and their own environment variables say where they are. TensorBoard files are always written."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.num_workers
        require(
            num_workers=at_least(1, most),
            min_workers=""
            if 0 <= self.min_workers <= most
            else f"must be from 0 to num_workers={most}, got {self.min_workers}",
            chunk_size=at_least(1, self.chunk_size),
            checkpoint_every=at_least(0, self.checkpoint_every),
            threads=at_least(0, self.threads),
            gpus=at_least(0, self.gpus),
            trackers=next(
                (unknown(name, list(_TRACKERS), "a tracker") for name in self.trackers if name not in _TRACKERS), ""
            ),
        )


@dataclass(frozen=True)
class IndexResources(Workers):
    """Workers that build the index."""

    actors: int = 0
    """Number of shards built in parallel; 0 uses one per core of the cluster, as far as its nodes' memory allows."""
    memory_gib: float = 0.0
    """Memory for building, per node; 0 uses four fifths of this machine's memory, or its free memory if less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(memory_gib=at_least(0, self.memory_gib))


@dataclass(frozen=True)
class CompareResources:
    """Number of trainings in parallel."""

    concurrent: int = 0
    """Number of trainings in parallel; 0 uses as many as the cluster has nodes, or GPUs, for their workers."""

    def __post_init__(self) -> None:
        require(concurrent=at_least(0, self.concurrent))
