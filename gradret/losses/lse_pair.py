"""LSEPair: every positive of the list above every negative of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    import torch

    from gradret.losses import Lists, LossFunction

__all__ = ["LSEPair"]


@dataclass(frozen=True)
class LSEPair:
    """``log( 1 + sum_p sum_n exp((s_n - s_p) / t) )``, mean over queries that have a positive.

    p runs over the list's positives, n over every other document of the batch. Positives never
    compete, and the weakest ones get most of the gradient.

    Source: arXiv 2602.12727 (KDD 2026), on several positives per query; the loss, its variants and the
    division are verified against the authors' code. There, a document that is relevant to a query but
    only in another query's list is a negative; here it is masked. Their code does not divide by the
    number of positives by default; we do not know which of the two the paper means.

    Raises:
        ValueError: ``temperature`` is not above 0.
    """

    weight: float = 1.0
    temperature: float = 1.0
    """The temperature t. The authors' code has none; cosines need a low value, such as 0.05."""
    positives: Literal["all", "min", "max"] = "all"
    """All positives, only the lowest-scored one (min), or only the highest-scored one (max)."""
    negatives: Literal["all", "max"] = "all"
    """All negatives, or only the highest-scored one (max)."""
    divide_by_positives: bool = False
    """Divide a query's loss by its number of positives, in every variant."""

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
        # The double sum is a product of two sums, so its logarithm is the sum of two logarithms.
        pairs_Q = self._for(scores_QN, positives_QN) + self._against(scores_QN, ~positives_QN & ~lists.masked_QN)
        losses_Q = functional.softplus(pairs_Q)
        if self.divide_by_positives:
            losses_Q = losses_Q / positives_QG.sum(dim=1).clamp(min=1)
        has_positive_Q = positives_QG.any(dim=1)
        return Mean(torch.where(has_positive_Q, losses_Q, 0.0).sum(), has_positive_Q.sum())

    def _for(self, scores_QN: torch.Tensor, positives_QN: torch.Tensor) -> torch.Tensor:
        """``(Q,)``: log sum of exp(-s) over the positives of the variant."""
        import torch

        lowest = torch.finfo(scores_QN.dtype).min
        if self.positives == "max":
            return -scores_QN.masked_fill(~positives_QN, lowest).amax(dim=1)
        minus_QN = (-scores_QN).masked_fill(~positives_QN, lowest)
        return minus_QN.amax(dim=1) if self.positives == "min" else minus_QN.logsumexp(dim=1)

    def _against(self, scores_QN: torch.Tensor, negatives_QN: torch.Tensor) -> torch.Tensor:
        """``(Q,)``: log sum of exp(s) over the negatives of the variant."""
        import torch

        scores_QN = scores_QN.masked_fill(~negatives_QN, torch.finfo(scores_QN.dtype).min)
        return scores_QN.amax(dim=1) if self.negatives == "max" else scores_QN.logsumexp(dim=1)
