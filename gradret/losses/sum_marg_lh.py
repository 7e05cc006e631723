"""SumMargLH: the summed marginal likelihood of the positives of the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    from gradret.losses import Lists, LossFunction

__all__ = ["SumMargLH"]


@dataclass(frozen=True)
class SumMargLH:
    """``-log( sum_p exp(s_p / t) / sum_c exp(s_c / t) )``, mean over queries that have a positive.

    p runs over the list's positives, c over every document of the batch, the positives included. One
    strong positive is enough: each positive's share of the gradient grows with its own score.

    Source: arXiv 2602.12727 (KDD 2026), on several positives per query; verified against the authors'
    code. There, a document that is relevant to a query but only in another query's list is a negative;
    here it is masked.

    Raises:
        ValueError: ``temperature`` is not above 0.
    """

    weight: float = 1.0
    temperature: float = 1.0
    """The temperature t. The authors' code has none; cosines need a low value, such as 0.05."""

    needs: ClassVar = ("positive",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(temperature=above_zero(self.temperature))

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        import torch
        from torch.nn import functional

        positives_QG = lists.positives_QG & lists.present_QG
        positives_QN = lists.spread(positives_QG, positives_QG, fill=False)
        scores_QN = lists.scores_QN / self.temperature
        lowest = torch.finfo(scores_QN.dtype).min
        for_Q = scores_QN.masked_fill(~positives_QN, lowest).logsumexp(dim=1)
        against_Q = scores_QN.masked_fill(positives_QN | lists.masked_QN, lowest).logsumexp(dim=1)
        # log((for + against) / for), without subtracting nearly equal logarithms.
        losses_Q = functional.softplus(against_Q - for_Q)
        has_positive_Q = positives_QG.any(dim=1)
        return Mean(torch.where(has_positive_Q, losses_Q, 0.0).sum(), has_positive_Q.sum())
