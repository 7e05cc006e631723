"""LambdaRank: RankNet with each pair weighted by its effect on nDCG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from gradret.config.fields import above_zero, at_least, require
from gradret.losses import Mean

if TYPE_CHECKING:
    import torch

    from gradret.losses import Lists, LossFunction

__all__ = ["LambdaRank"]


@dataclass(frozen=True)
class LambdaRank:
    """``w_ij * softplus(-(s_i - s_j) / temperature)``, summed over a list's pairs, mean over queries.

    Pairs are those with ``grade_i > grade_j``; a query without a pair is excluded from the mean. w_ij is
    the change of the list's nDCG if i and j swapped places in the student's order:
    ``|gain_i - gain_j| * |1 / log2(1 + rank_i) - 1 / log2(1 + rank_j)| / ideal DCG``. Weights have
    no gradient. Documents of equal score are ranked by ascending grade, the worst order; if their grades
    are equal too, they share a rank. Documents without a grade have no rank and are in no pair.
    The default temperature is for cosines.

    Source: Burges et al. 2006 as a loss, Wang et al. 2018 (LambdaLoss); verified against
    sentence-transformers' and allRank's code, the papers themselves were not read.
    sentence-transformers' ``sigma`` is ``1 / temperature``; its mean is over pairs, its logarithm
    to base 2, its labels are ``grade * (levels - 1)``, and its default scheme is ``mu=10``.

    Raises:
        ValueError: ``temperature`` is not above 0, ``levels`` is below 2, or ``mu`` is below 0.
    """

    weight: float = 1.0
    temperature: float = 0.05
    gain: Literal["exponential", "linear"] = "exponential"
    """``2^(grade * (levels - 1)) - 1``, or the grade itself."""
    levels: int = 4
    """Number of levels of the grade scale for the exponential gain: 4 means 0, 1, 2, 3."""
    mu: float = 0.0
    """Adds ``mu * |gain_i - gain_j| * (1 / log2(1 + d) - 1 / log2(2 + d)) / ideal DCG`` to w_ij,
    where d is the distance of the ranks: NDCG-Loss2++ of Wang et al."""

    needs: ClassVar = ("two grades",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(temperature=above_zero(self.temperature), levels=at_least(2, self.levels), mu=at_least(0, self.mu))

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        import torch
        from torch.nn import functional

        scores_QG = lists.listed_QG
        # Comparisons with NaN are false, so ungraded documents are in no pair.
        grades_QG = lists.grades_QG.masked_fill(~lists.present_QG, torch.nan)
        pairs_QGG = grades_QG[:, :, None] > grades_QG[:, None, :]
        weights_QGG = self._weights(_ranks(scores_QG, grades_QG), grades_QG.nan_to_num())
        scores_QG = scores_QG / self.temperature
        # logsigmoid, because torch's softplus is linear above 20.
        losses_QGG = -weights_QGG * functional.logsigmoid(scores_QG[:, :, None] - scores_QG[:, None, :])
        return Mean(torch.where(pairs_QGG, losses_QGG, 0.0).sum(), pairs_QGG.any(dim=(1, 2)).sum())

    def _weights(self, ranks_QG: torch.Tensor, grades_QG: torch.Tensor) -> torch.Tensor:
        gains_QG = grades_QG if self.gain == "linear" else (grades_QG * (self.levels - 1)).exp2() - 1
        discounts_QGG = _differences(_discount(ranks_QG))
        if self.mu:
            distances_QGG = _differences(ranks_QG).clamp(min=1)
            discounts_QGG = discounts_QGG + self.mu * (_discount(distances_QGG) - _discount(distances_QGG + 1))
        return _differences(gains_QG) * discounts_QGG / _ideal_dcg(gains_QG)[:, None, None]


def _ranks(scores_QG: torch.Tensor, grades_QG: torch.Tensor) -> torch.Tensor:
    """Rank from 1 by score; equal scores by ascending grade; documents equal in both share the best rank."""
    mine_QG1, other_Q1G = scores_QG[:, :, None], scores_QG[:, None, :]
    lower_QGG = grades_QG[:, None, :] < grades_QG[:, :, None]
    before_QGG = (other_Q1G > mine_QG1) | ((other_Q1G == mine_QG1) & lower_QGG)
    before_QGG = before_QGG & ~grades_QG.isnan()[:, None, :]
    return 1 + before_QGG.sum(dim=2).to(scores_QG.dtype)


def _ideal_dcg(gains_QG: torch.Tensor) -> torch.Tensor:
    """Return the ideal DCG of each list, ``(Q,)``; never 0."""
    import torch

    ranks_G = torch.arange(1, gains_QG.shape[1] + 1, dtype=gains_QG.dtype, device=gains_QG.device)
    ideal_Q = gains_QG.sort(dim=1, descending=True).values @ _discount(ranks_G)
    return ideal_Q.clamp(min=torch.finfo(ideal_Q.dtype).tiny)


def _discount(ranks: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + ranks).log2()


def _differences(values_QG: torch.Tensor) -> torch.Tensor:
    """Return the absolute difference of every two values of a list, ``(Q, G, G)``."""
    return (values_QG[:, :, None] - values_QG[:, None, :]).abs()
