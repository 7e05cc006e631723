"""InfoNCE: the positive against the other documents of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    import torch

    from gradret.losses import Lists, LossFunction

__all__ = ["InfoNCE", "contrast"]


@dataclass(frozen=True)
class InfoNCE:
    """``-log( exp(s_p / t) / sum_c exp(s_c / t) )``, mean over queries that have a positive.

    p is the first positive of the list. c runs over every document of the batch or, without
    ``hard_negatives``, over the batch's first positives. Other documents known to be relevant to
    the query are never among its negatives.

    Source: van den Oord et al. 2018; in-batch form Karpukhin et al. 2020 (DPR). The formula is verified
    against sentence-transformers' MultipleNegativesRankingLoss, at scale 1 / t.
    """

    weight: float = 1.0
    temperature: float = 0.05
    hard_negatives: bool = True
    """Every document of the batch is a candidate; false: only the first positives, and the other documents
    of a list are ignored."""

    needs: ClassVar = ("positive",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(temperature=above_zero(self.temperature))

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        others_QG = lists.positives_QG & lists.present_QG
        others_QG[:, 0] = False
        out_QN = lists.masked_QN | lists.spread(others_QG, others_QG, fill=False)
        if not self.hard_negatives:
            out_QN = out_QN | ~lists.firsts_N
        return contrast(lists, out_QN, self.temperature)


def contrast(lists: Lists, out_QN: torch.Tensor, temperature: float) -> Mean:
    """Return the cross-entropy of each list's first positive among all columns except those in ``out_QN``."""
    import torch

    has_positive_Q = lists.positives_QG[:, 0] & lists.present_QG[:, 0]
    scores_QN = lists.scores_QN / temperature
    lowest = torch.finfo(scores_QN.dtype).min
    all_Q = scores_QN.masked_fill(out_QN, lowest).logsumexp(dim=1)
    losses_Q = all_Q - scores_QN.gather(1, lists.columns_QG[:, :1])[:, 0]
    return Mean(torch.where(has_positive_Q, losses_Q, 0.0).sum(), has_positive_Q.sum())
