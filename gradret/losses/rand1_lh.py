"""Rand1LH: one positive of the list at a time, a different one each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    from gradret.losses import Lists, LossFunction

__all__ = ["Rand1LH"]


@dataclass(frozen=True)
class Rand1LH:
    """``-log( exp(s_p / t) / sum_c exp(s_c / t) )``, mean over queries that have a positive.

    p is number ``draw mod m`` of the list's m positives in stored order, so every positive is used once in
    m epochs. c runs over every document of the batch except the list's other positives.

    Source: arXiv 2602.12727 (KDD 2026), on several positives per query; loss and draw are verified
    against the authors' code. There, a document that is relevant to a query but only in another query's
    list is a negative; here it is masked. There, the positives that are not drawn are removed from the
    batch; here they stay as other queries' negatives.

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

        positives_QG = lists.positives_QG & lists.present_QG
        drawn_Q1 = (lists.draws_Q % positives_QG.sum(dim=1).clamp(min=1))[:, None]
        others_QG = positives_QG.scatter(1, drawn_Q1, value=False)
        out_QN = lists.masked_QN | lists.spread(others_QG, others_QG, fill=False)
        scores_QN = lists.scores_QN / self.temperature
        all_Q = scores_QN.masked_fill(out_QN, torch.finfo(scores_QN.dtype).min).logsumexp(dim=1)
        losses_Q = all_Q - scores_QN.gather(1, lists.columns_QG.gather(1, drawn_Q1))[:, 0]
        has_positive_Q = positives_QG.any(dim=1)
        return Mean(torch.where(has_positive_Q, losses_Q, 0.0).sum(), has_positive_Q.sum())
