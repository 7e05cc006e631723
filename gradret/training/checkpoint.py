"""Checkpoints: weights, optimizer state and progress in one file, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gradret.errors import DataError
from gradret.store.atomic import atomic

__all__ = ["load_checkpoint", "restore", "save_checkpoint", "steps_done"]


def save_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], progress: Mapping[str, Any]) -> None:
    """Write ``tensors`` and ``progress`` (JSON values) to ``path``."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as draft:
        save_file(contiguous, draft, metadata={"progress": json.dumps(progress)})


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Load tensors and progress; None if there is no checkpoint yet.

    Raises:
        DataError: the file is not a gradret checkpoint.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return tensors, json.loads(file.metadata()["progress"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a training checkpoint: {error}; delete it to start again") from error


def steps_done(path: Path) -> int:
    """Steps before the checkpoint; 0 if there is none that can be read."""
    try:
        with safe_open(path, "pt") as file:
            return int(json.loads(file.metadata()["progress"])["step"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0  # the training says what is wrong


def restore(parameters: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Copy the tensors with the same names into ``parameters``.

    Raises:
        DataError: the tensors are from another model: a name is missing or a shape differs.
    """
    for name, parameter in parameters.items():
        if name not in tensors:
            raise DataError(f"{path} is a checkpoint of another model: {name} is missing; delete it to start again")
        if tensors[name].shape != parameter.shape:
            actual, expected = tuple(tensors[name].shape), tuple(parameter.shape)
            raise DataError(
                f"{path} is a checkpoint of another model: {name} has shape {actual}, expected {expected}; "
                "delete it to start again"
            )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
