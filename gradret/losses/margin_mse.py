"""Margin MSE: fit the student's margin between two documents to the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    import torch

    from gradret.losses import Lists, LossFunction

__all__ = ["MarginMSE"]


@dataclass(frozen=True)
class MarginMSE:
    """``(scale * (s_p - s_n) - (t_p - t_n))^2``, mean over pairs (p, n) of all lists.

    s are the student's scores, t the teacher's raw scores. p is the first positive of a list; n runs over
    its documents that are not positive. Documents that the teacher did not score are in no pair.

    Source: Hofstätter et al. 2020 (2010.02666), with one n per query; verified against the authors' code
    (matchmaker). Several n per query and the mean over all pairs are as in sentence-transformers.

    Raises:
        ValueError: ``scale`` is not above 0.
    """

    weight: float = 1.0
    scale: float = 1.0
    """Factor on the student's scores. Cosines differ by at most 2, a cross-encoder's raw scores often by 10
    or more: for such a teacher, use about their quotient. 1 is the paper's, for unbounded dot products."""

    needs: ClassVar = ("teacher scores",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(scale=above_zero(self.scale))

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        import torch

        scored_QG = lists.present_QG & ~lists.teacher_QG.isnan()
        first_Q1 = (lists.positives_QG & scored_QG)[:, :1]
        pairs_QG = first_Q1 & scored_QG & ~lists.positives_QG
        errors_QG = _margins(self.scale * lists.listed_QG) - _margins(lists.teacher_QG.nan_to_num())
        return Mean(torch.where(pairs_QG, errors_QG.square(), 0.0).sum(), pairs_QG.sum())


def _margins(scores_QG: torch.Tensor) -> torch.Tensor:
    """Return the margin of the first document over each document."""
    return scores_QG[:, :1] - scores_QG
