"""Set the dropout of a model that is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["set_dropout"]


def set_dropout(model: torch.nn.Module, dropout: float) -> None:
    """Set dropout in the layers, not in the model's configuration, which is saved with the model."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, dropout)
