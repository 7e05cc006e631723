"""Losses: from scores and grades to a number.

A loss is a frozen dataclass whose ``load`` gives a ``torch.nn.Module`` from ``Lists`` to a scalar.
It sees tensors, never models, so one file serves every encoder. Every loss has a ``weight``; a
list of losses in the config is their weighted sum. To add one, write ``gradret/losses/NAME.py``
with a dataclass called NAME.

Shapes: Q queries of the batch, N unique documents of the batch (columns), G documents of a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

__all__ = ["Lists", "Loss"]


@dataclass
class Lists:
    """Everything a loss may look at; the same on every worker."""

    scores_QN: torch.Tensor
    """Similarity of every query and every document of the batch."""
    columns_QG: torch.Tensor
    """Which column each document of a query's list is; 0 where there is none."""
    present_QG: torch.Tensor
    """False where a list is shorter than G."""
    grades_QG: torch.Tensor
    """0 to 1; NaN where ungraded."""
    positives_QG: torch.Tensor
    """True for documents known to be relevant; these come first in a list."""
    masked_QN: torch.Tensor
    """True where a document is known to be relevant but is not in the query's list: it leaves every sum."""


class Loss(Protocol):
    """What train needs of a loss."""

    weight: float

    def load(self) -> torch.nn.Module:
        """A module called with ``Lists``; its parameters, if any, are trained too."""
