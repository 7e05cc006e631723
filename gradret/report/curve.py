"""Read a training's ``metrics.jsonl`` and summarise it: the loss by step, the held-out queries by epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Epoch", "epochs", "read_curve"]


@dataclass(frozen=True)
class Epoch:
    """The held-out queries after an epoch; epoch 0 is before training."""

    epoch: int
    step: int
    dev_loss: float | None
    dev_ndcg: float | None
    kept: bool
    """Whether these weights were kept."""


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Read a training's ``metrics.jsonl``, skipping a line that a killed run left incomplete."""
    rows = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def epochs(rows: Sequence[Mapping[str, Any]], best: int | None) -> list[Epoch]:
    """The epochs with a dev measure, in order.

    Args:
        rows: the lines of the file.
        best: the epoch whose weights were kept, if known.
    """
    return [
        Epoch(row["epoch"], row["step"], _number(row, "dev_loss"), _number(row, "dev_ndcg"), row["epoch"] == best)
        for row in rows
        if isinstance(row.get("epoch"), int)
        and isinstance(row.get("step"), int)
        and (_number(row, "dev_loss") is not None or _number(row, "dev_ndcg") is not None)
    ]


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) else None
