"""RankNet: of two documents, the one with the higher grade should score higher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    from gradret.losses import Lists, LossFunction

__all__ = ["RankNet"]


@dataclass(frozen=True)
class RankNet:
    """``softplus(-(s_i - s_j) / temperature)``, mean over pairs of a list with ``grade_i > grade_j``.

    The mean is over the pairs of all lists together, so a long list counts more than a short one.
    Only the order of the grades matters. Documents without a grade are in no pair. The default
    temperature is for cosines.

    Source: Burges et al. 2005, with targets of 0 and 1; verified against sentence-transformers' and
    allRank's code, not against the paper. sentence-transformers' ``sigma`` is
    ``1 / temperature``, and its logarithm is to base 2 by default: 1.44 times this one.

    Raises:
        ValueError: ``temperature`` is not above 0.
    """

    weight: float = 1.0
    temperature: float = 0.05

    needs: ClassVar = ("two grades",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(temperature=above_zero(self.temperature))

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        import torch
        from torch.nn import functional

        scores_QG = lists.listed_QG / self.temperature
        # Comparisons with NaN are false, so ungraded documents are in no pair.
        grades_QG = lists.grades_QG.masked_fill(~lists.present_QG, torch.nan)
        pairs_QGG = grades_QG[:, :, None] > grades_QG[:, None, :]
        # logsigmoid, because torch's softplus is linear above 20.
        losses_QGG = -functional.logsigmoid(scores_QG[:, :, None] - scores_QG[:, None, :])
        return Mean(torch.where(pairs_QGG, losses_QGG, 0.0).sum(), pairs_QGG.sum())
