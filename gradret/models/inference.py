"""Run a loaded model on many texts; shared by encoders and by teachers that score pairs."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from gradret.work.session import cores

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["BATCH_TOKENS", "Lanes", "assigned_device", "pack", "token_batches"]

Item = TypeVar("Item")
Output = TypeVar("Output")

BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}
"""Tokens per batch, padding included. On a CPU, a batch's activations should fit its caches."""

_MAX_PACKED_PARAMETERS = 1 << 28
"""Largest model, 1 GiB, whose weights are stored twice to run faster."""

_MAX_LANES = 16
"""With more lanes, Python's global interpreter lock would be the bottleneck."""


def assigned_device() -> str:
    """Return ``cuda`` if Ray gave this task or actor a GPU, else ``cpu``; in a driver, ``cuda`` if there is a GPU.

    A task that asked for no GPU may still see all of them, those too whose memory another stage's engine has taken.
    """
    import ray
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    in_worker = ray.is_initialized() and ray.get_runtime_context().get_task_id() is not None
    return "cpu" if in_worker and not ray.get_gpu_ids() else "cuda"


def token_batches(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Yield the indices of each batch's rows, longest first, so that running out of memory shows at once.

    Args:
        lengths: tokens of each row; rows without tokens are skipped.
        budget: tokens per batch, padding included; a longer row is a batch by itself.
    """
    import numpy as np

    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        size = max(1, budget // lengths[order[start]])
        yield order[start : start + size]
        start += size


class Lanes:
    """Run batches in parallel, each on few threads, because threads that share a batch wait for each other.

    Args:
        threads: total CPU threads; 0 uses all cores of the machine.
        device: on ``cuda`` there are two lanes: one prepares a batch while the GPU runs the other's.
        alone: run one batch at a time, on all threads.
    """

    def __init__(self, threads: int, device: str, *, alone: bool = False) -> None:
        threads = threads or cores()
        self.count = 1 if alone else min(threads, _MAX_LANES) if device == "cpu" else 2
        self.threads = max(1, threads // self.count)

    def map(self, function: Callable[[Item], Output], items: Iterable[Item]) -> list[Output]:
        """Apply ``function`` to each of ``items``, which are produced here while the lanes work."""
        import torch

        items = iter(items)
        first = list(islice(items, 2))
        if len(first) < 2:  # a single item runs on all threads
            return [function(item) for item in first]
        with ThreadPoolExecutor(self.count, initializer=torch.set_num_threads, initargs=(self.threads,)) as pool:
            return list(pool.map(function, chain(first, items)))


def pack(model: torch.nn.Module) -> None:
    """Make the linear layers of a float32 model on an x86 CPU use oneDNN, with weights in its layout.

    Results are equal up to rounding. torch uses MKL by default, which is slower on AMD processors. Layers
    keep their weights; with gradients, and for other dtypes, they work as before.
    """
    import torch

    mkldnn: Any = torch.backends.mkldnn
    if not mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return
    if sum(parameter.numel() for parameter in model.parameters()) > _MAX_PACKED_PARAMETERS:
        return
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)  # noqa: SLF001
            layer.forward = functools.partial(_linear, layer, packed)  # type: ignore[method-assign]


def _linear(layer: torch.nn.Linear, packed: torch.Tensor, inputs: torch.Tensor) -> Any:
    import torch

    if torch.is_grad_enabled() or inputs.dtype != torch.float32 or torch.is_autocast_enabled(inputs.device.type):
        return torch.nn.functional.linear(inputs, layer.weight, layer.bias)
    return torch.ops.mkldnn._linear_pointwise(inputs, packed, layer.bias, "none", [], "")  # noqa: SLF001
