"""Estimate an engine's speed by a roofline model, from a GPU's data sheet and a model's size; nothing is measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gradret.components import unknown
from gradret.errors import ConfigError

__all__ = ["Gpu", "Speed", "Weights", "gpu", "roofline", "share_of_peak", "weights"]

_BITS_A_BYTE = 8


@dataclass(frozen=True)
class Gpu:
    """A GPU's data sheet, from ``throughput.yaml``."""

    memory_gb: float
    bf16_tflops: float
    """Dense bfloat16 throughput, in 1e12 operations per second."""
    bandwidth_gbs: float
    """Memory bandwidth, in 1e9 bytes per second."""


@dataclass(frozen=True)
class Weights:
    """Size of a model."""

    parameters: float
    size: float
    """Size of the weights in bytes."""


@dataclass(frozen=True)
class Speed:
    """Tokens per second of one engine."""

    tokens_in: float
    tokens_out: float

    def seconds(self, tokens_in: float, tokens_out: float) -> float:
        """Time of one engine; prompt processing and generation share the GPU, so their times add up."""
        return tokens_in / self.tokens_in + tokens_out / self.tokens_out


def gpu(name: str) -> Gpu:
    """The GPU ``name`` of the table.

    Raises:
        ConfigError: the table has no such GPU.
    """
    gpus = _table()["gpus"]
    if name not in gpus:
        raise ConfigError(f"--gpu: {unknown(name, list(gpus), 'in the throughput table')}; known: {', '.join(gpus)}")
    return Gpu(**gpus[name])


def share_of_peak() -> float:
    """The share of peak performance that an engine is assumed to reach."""
    return float(_table()["share_of_peak"])


def roofline(card: Gpu, gpus: int, model: Weights, sequences: int) -> Speed:
    """An engine's speed on ``gpus`` GPUs, with ``sequences`` sequences generated in parallel.

    Processing a prompt takes 2 operations per parameter and token, and is compute-bound. Generation reads all weights
    once per token of all sequences, and is bound by memory bandwidth or compute. Neglected are the cost of attention
    and its cache, the gain from prefix caching, and communication between GPUs. All parameters of a mixture of experts
    count, so its speed is underestimated.
    """
    share = share_of_peak()
    operations = share * gpus * card.bf16_tflops * 1e12 / (2 * model.parameters)
    steps = share * gpus * card.bandwidth_gbs * 1e9 / model.size
    return Speed(operations, min(operations, sequences * steps))


def weights(model: str) -> Weights | None:
    """The size of a model in a folder or on the Hub, from its safetensors headers; None if unknown."""
    from huggingface_hub import get_local_safetensors_metadata, get_safetensors_metadata

    from gradret.models.locate import locate, on_hub

    try:
        folder = None if on_hub(model) else locate(model)
        read: Any = get_local_safetensors_metadata if folder else get_safetensors_metadata
        counts: dict[str, int] = read(folder or model).parameter_count
    except Exception:  # no files, model or Hub; the errors depend on its HTTP library, which changes
        return None
    size = sum(count * _bits(kind) / _BITS_A_BYTE for kind, count in counts.items())
    return Weights(sum(counts.values()), size) if counts else None


def _bits(kind: str) -> int:
    """Bits of a safetensors type such as ``BF16`` or ``F8_E4M3``: the digits after its letters."""
    if kind == "BOOL":
        return _BITS_A_BYTE
    digits = kind.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ").partition("_")[0]
    return int(digits)


@cache
def _table() -> dict[str, Any]:
    import yaml

    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("throughput.yaml").read_text(encoding="utf-8"))
    return table
