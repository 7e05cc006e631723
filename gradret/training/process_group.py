"""How the workers of a training find each other.

torch's own store is a server at the first worker that listens on every interface, without a password. Workers of one
machine meet at a file instead, and a worker alone meets nobody.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train.backend import Backend
from ray.train.torch import TorchConfig

from gradret.work.session import is_local

__all__ = ["process_group"]


def process_group(backend: str, folder: Path) -> TorchConfig:
    """Return Ray Train's config of torch's process group.

    Args:
        backend: torch's: ``gloo`` or ``nccl``.
        folder: for the file at which workers meet, on a Ray that gradret started; on a cluster they use torch's store.
    """
    return _Local(backend=backend, folder=str(folder)) if is_local() else TorchConfig(backend=backend)


class _Meeting(Backend):
    """Joins the workers by a new file each time they are started."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        size = len(worker_group)
        if size == 1:
            return
        store = f"file://{backend_config.folder}/workers-{uuid.uuid4().hex}"
        joins = [
            worker_group.execute_single_async(rank, _join, backend_config.backend, store, rank, size)
            for rank in range(size)
        ]
        ray.get(joins)


@dataclass
class _Local(TorchConfig):
    """The process group of workers on this machine."""

    folder: str = ""

    @property
    def backend_cls(self) -> type[Backend]:
        return _Meeting


def _join(backend: str, store: str, rank: int, size: int) -> None:
    from torch import distributed

    distributed.init_process_group(backend, init_method=store, rank=rank, world_size=size)
