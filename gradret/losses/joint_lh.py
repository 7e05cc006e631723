"""JointLH: the joint likelihood of all positives of the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    from gradret.losses import Lists, LossFunction

__all__ = ["JointLH"]


@dataclass(frozen=True)
class JointLH:
    """``sum_p -log( exp(s_p / t) / sum_c exp(s_c / t) )`` over a list's positives p, mean over queries that have one.

    c runs over every document of the batch, the positives included, so positives compete: with m of
    them and P the softmax, the gradient on ``s_p / t`` is ``m * P_p - 1``.

    Source: arXiv 2602.12727 (KDD 2026), on several positives per query; verified against the authors'
    code. There, a document that is relevant to a query but only in another query's list is a negative;
    here it is masked. Their code does not divide by m by default. Third-party notes on the paper give the
    gradient ``P_p - 1/m``, that of the divided form; we do not know which of the two the paper means.

    Raises:
        ValueError: ``temperature`` is not above 0.
    """

    weight: float = 1.0
    temperature: float = 1.0
    """The temperature t. The authors' code has none; cosines need a low value, such as 0.05."""
    divide_by_positives: bool = False
    """Divide a query's sum by its number of positives."""

    needs: ClassVar = ("positive",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(temperature=above_zero(self.temperature))

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        import torch

        positives_QG = lists.positives_QG & lists.present_QG
        scores_QN = lists.scores_QN / self.temperature
        lowest = torch.finfo(scores_QN.dtype).min
        all_Q1 = scores_QN.masked_fill(lists.masked_QN, lowest).logsumexp(dim=1, keepdim=True)
        terms_QG = all_Q1 - scores_QN.gather(1, lists.columns_QG)
        if self.divide_by_positives:
            terms_QG = terms_QG / positives_QG.sum(dim=1, keepdim=True).clamp(min=1)
        return Mean(torch.where(positives_QG, terms_QG, 0.0).sum(), positives_QG.any(dim=1).sum())
