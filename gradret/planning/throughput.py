"""How fast an engine could be: a roofline from a GPU's data sheet and a model's size. Nothing here is measured."""

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
    """What a data sheet says, of ``throughput.yaml``."""

    memory_gb: float
    bf16_tflops: float
    """Dense, in 1e12 operations a second."""
    bandwidth_gbs: float
    """Of its memory, in 1e9 bytes a second."""


@dataclass(frozen=True)
class Weights:
    """How large a model is."""

    parameters: float
    size: float
    """Bytes."""


@dataclass(frozen=True)
class Speed:
    """Tokens a second of one engine."""

    tokens_in: float
    tokens_out: float

    def seconds(self, tokens_in: float, tokens_out: float) -> float:
        """How long one engine takes: reading and writing add up, as they share the GPU."""
        return tokens_in / self.tokens_in + tokens_out / self.tokens_out


def gpu(name: str) -> Gpu:
    """The GPU called ``name`` in the table.

    Raises:
        ConfigError: there is none.
    """
    gpus = _table()["gpus"]
    if name not in gpus:
        raise ConfigError(f"--gpu: {unknown(name, list(gpus), 'in the throughput table')}; known: {', '.join(gpus)}")
    return Gpu(**gpus[name])


def share_of_peak() -> float:
    """What an engine is assumed to get of a peak."""
    return float(_table()["share_of_peak"])


def roofline(card: Gpu, gpus: int, model: Weights, sequences: int) -> Speed:
    """An engine's speed on ``gpus`` GPUs with ``sequences`` answers in the making.

    Reading a prompt does 2 operations a parameter and token, and is bound by them. Writing reads all
    weights once for a token of each sequence, and is bound by the memory or by the same operations.
    Left out: attention's own work and its cache, what prefix caching saves, and talk between GPUs. Of a
    mixture of experts all parameters count, so its speed comes out too low.
    """
    share = share_of_peak()
    operations = share * gpus * card.bf16_tflops * 1e12 / (2 * model.parameters)
    steps = share * gpus * card.bandwidth_gbs * 1e9 / model.size
    return Speed(operations, min(operations, sequences * steps))


def weights(model: str) -> Weights | None:
    """The size of a model in a folder or on the hub, from the heads of its safetensors files; None if unknown."""
    from huggingface_hub import get_local_safetensors_metadata, get_safetensors_metadata

    read: Any = get_local_safetensors_metadata if Path(model).is_dir() else get_safetensors_metadata
    try:
        counts: dict[str, int] = read(model).parameter_count
    except Exception:  # no such files, no such model, no hub: errors of its HTTP library, which changes
        return None
    size = sum(count * _bits(kind) / _BITS_A_BYTE for kind, count in counts.items())
    return Weights(sum(counts.values()), size) if counts else None


def _bits(kind: str) -> int:
    """Of a safetensors type such as ``BF16`` or ``F8_E4M3``: the digits after its letters."""
    if kind == "BOOL":
        return _BITS_A_BYTE
    digits = kind.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ").partition("_")[0]
    return int(digits)


@cache
def _table() -> dict[str, Any]:
    import yaml

    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("throughput.yaml").read_text(encoding="utf-8"))
    return table
