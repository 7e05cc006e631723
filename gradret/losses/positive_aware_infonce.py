"""InfoNCE without negatives that the teacher grades nearly as high as the positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, at_least, require
from gradret.losses.infonce import contrast

if TYPE_CHECKING:
    from gradret.losses import Lists, LossFunction, Mean

__all__ = ["PositiveAwareInfoNCE"]


@dataclass(frozen=True)
class PositiveAwareInfoNCE:
    """InfoNCE without negatives whose grade is close to the positive's.

    ``-log( exp(s_p / t) / sum_c exp(s_c / t) )``, mean over queries that have a positive.

    p is the first positive of the list. c runs over every document of the batch, except documents of the
    query's own list whose grade is above ``threshold`` times that of p, and documents known to be relevant
    to the query. If p has no grade, no document is excluded by its grade.

    Source: Tamber et al. 2025 (2502.19712), equation 2, with the defaults here; verified against the
    paper's text and code. There, a document counts once for every list that contains it; here, once.
    The paper adds it to ``kl`` with weight 0.1.
    """

    weight: float = 1.0
    temperature: float = 0.01
    threshold: float = 0.6
    """Exclude a document as a negative if its grade is above this share of the positive's grade."""

    needs: ClassVar = ("positive",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(temperature=above_zero(self.temperature), threshold=at_least(0, self.threshold))

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        # Comparisons with NaN, an absent grade, are false.
        too_good_QG = lists.grades_QG > self.threshold * lists.grades_QG[:, :1]
        others_QG = lists.present_QG & (lists.positives_QG | too_good_QG)
        others_QG[:, 0] = False
        out_QN = lists.masked_QN | lists.spread(others_QG, others_QG, fill=False)
        return contrast(lists, out_QN, self.temperature)
