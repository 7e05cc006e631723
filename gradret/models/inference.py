"""Run a loaded model over many texts: what encoding and the teachers that score pairs share."""

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

__all__ = ["BATCH_TOKENS", "Lanes", "pack", "token_batches"]

Item = TypeVar("Item")
Found = TypeVar("Found")

BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}
"""Tokens of a batch, padding counted. On a CPU a batch's activations should stay in its caches."""

_MOST_PACKED = 1 << 28
"""Numbers of a model that are held twice, 1 GiB; a larger one keeps the memory."""

_MOST_LANES = 16
"""Beyond it the interpreter's lock would be what they wait for."""


def token_batches(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Places of rows that are run together, the longest first: memory that does not suffice shows at once.

    Args:
        lengths: tokens of each row; a row without any is left out.
        budget: tokens of a batch, padding counted; a longer row is a batch of its own.
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
    """Batches side by side, each on few threads of its own: threads that share a batch wait for each other.

    Args:
        threads: CPU threads in all; 0 takes all cores of the machine.
        device: on ``cuda`` there are two lanes, so that one prepares a batch while the GPU has the other's.
        alone: one batch at a time, on all threads.
    """

    def __init__(self, threads: int, device: str, *, alone: bool = False) -> None:
        threads = threads or cores()
        self.count = 1 if alone else min(threads, _MOST_LANES) if device == "cpu" else 2
        self.threads = max(1, threads // self.count)

    def map(self, function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """What ``function`` gives for each of ``items``, which are made here while the lanes work."""
        import torch

        items = iter(items)
        first = list(islice(items, 2))
        if len(first) < 2:  # on all threads
            return [function(item) for item in first]
        with ThreadPoolExecutor(self.count, initializer=torch.set_num_threads, initargs=(self.threads,)) as pool:
            return list(pool.map(function, chain(first, items)))


def pack(model: torch.nn.Module) -> None:
    """Let the linear layers of a float32 model on an x86 CPU multiply by oneDNN, with weights in its order.

    Same numbers up to rounding. torch takes MKL there, which does not use all that AMD's processors have.
    Layers keep their weights; with gradients, and for other inputs, they work as before.
    """
    import torch

    mkldnn: Any = torch.backends.mkldnn
    if not mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return
    if sum(parameter.numel() for parameter in model.parameters()) > _MOST_PACKED:
        return
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)  # noqa: SLF001
            layer.forward = functools.partial(_linear, layer, packed)  # type: ignore[method-assign]


def _linear(layer: torch.nn.Linear, packed: torch.Tensor, given: torch.Tensor) -> Any:
    import torch

    if torch.is_grad_enabled() or given.dtype != torch.float32 or torch.is_autocast_enabled(given.device.type):
        return torch.nn.functional.linear(given, layer.weight, layer.bias)
    return torch.ops.mkldnn._linear_pointwise(given, packed, layer.bias, "none", [], "")  # noqa: SLF001
