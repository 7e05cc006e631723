"""BiXSE: binary cross-entropy of every query and column, with grades as soft targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    import torch

    from gradret.losses import Lists

__all__ = ["BiXSE"]


@dataclass(frozen=True)
class BiXSE:
    """``softplus(x) - z * x`` with ``x = scale * score + bias``, over all pairs of a query and a column.

    z is the grade if the document is in the query's list, and 0 for every other document of the batch.
    Masked columns, listed documents without a grade, and queries without any grade are excluded. A pair
    has its minimum at ``sigmoid(x) = z``; the loss there is the entropy of z, not 0. One graded document
    per query is enough.

    Source: BiXSE, Tsirigotis et al. 2025 (2508.06781). A reconstruction: that grades are soft targets
    of a binary cross-entropy with in-batch negatives is verified against the abstract; scale, bias and
    reduction are our choice. With grades of 0 and 1 and ``reduction="queries"`` it
    is the sigmoid loss of SigLIP, Zhai et al. 2023 (2303.15343).

    Raises:
        ValueError: ``scale`` is not above 0.
    """

    weight: float = 1.0
    scale: float = 20.0
    """Factor on the scores; 20, for cosines, is from a third-party implementation."""
    learn_scale: bool = False
    """Train the scale too, as its logarithm."""
    bias: float = -10.0
    """Initial bias; -10 is SigLIP's. Nearly all targets are 0, so a low bias saves the first steps: if one
    of N columns is relevant and unrelated documents score c, it should be ``-log(N - 1) - scale * c``. Adam
    moves the bias by about the learning rate per step, so with a low learning rate it stays near this value."""
    learn_bias: bool = True
    """Train the bias too."""
    reduction: Literal["pairs", "queries"] = "pairs"
    """Divide the sum by the number of its pairs, or of its queries (SigLIP's choice, about N times larger)."""

    needs: ClassVar = ("grade",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(scale=above_zero(self.scale))

    def load(self) -> torch.nn.Module:
        from torch import nn, tensor

        settings = self

        class Pairs(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.log_scale = nn.Parameter(tensor(math.log(settings.scale))) if settings.learn_scale else None
                self.bias = nn.Parameter(tensor(settings.bias)) if settings.learn_bias else settings.bias

            def forward(self, lists: Lists) -> Mean:
                scale = settings.scale if self.log_scale is None else self.log_scale.exp()
                return settings._mean(lists, scale, self.bias)

        return Pairs()

    def _mean(self, lists: Lists, scale: float | torch.Tensor, bias: float | torch.Tensor) -> Mean:
        from torch.nn import functional

        logits_QN = scale * lists.scores_QN + bias
        targets_QN = lists.spread(lists.grades_QG, lists.graded_QG, fill=0.0)
        ungraded_QG = lists.present_QG & ~lists.graded_QG
        graded_Q = lists.graded_QG.any(dim=1)
        keep_QN = graded_Q[:, None] & ~lists.masked_QN & ~lists.spread(ungraded_QG, ungraded_QG, fill=False)
        total = functional.binary_cross_entropy_with_logits(logits_QN, targets_QN, keep_QN, reduction="sum")
        return Mean(total, (keep_QN if self.reduction == "pairs" else graded_Q).sum())
