"""ListNet: cross-entropy between the distributions of grades and scores over a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, require
from gradret.losses import Mean

if TYPE_CHECKING:
    import torch

    from gradret.losses import Lists, LossFunction

__all__ = ["ListNet"]


@dataclass(frozen=True)
class ListNet:
    """``-sum_d softmax(grades / teacher_temperature)_d * log softmax(scores / temperature)_d``, mean over queries.

    d runs over the graded documents of the query's own list; a query with fewer than two is excluded from
    the mean. With the same temperatures the gradient is that of ``kl``: the two differ by the
    entropy of the grades' distribution. The default temperature is for cosines.

    Source: Cao et al. 2007, top-one probabilities; verified against sentence-transformers' and
    allRank's code, both of which have temperatures of 1; the paper itself was not read.

    Raises:
        ValueError: a temperature is not above 0.
    """

    weight: float = 1.0
    temperature: float = 0.05
    teacher_temperature: float = 0.15

    needs: ClassVar = ("two graded",)
    whole_batch: ClassVar = False

    def __post_init__(self) -> None:
        require(**{name: above_zero(getattr(self, name)) for name in ("temperature", "teacher_temperature")})

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        import torch

        enough_Q = lists.graded_QG.sum(dim=1) >= 2
        graded_QG = lists.graded_QG & enough_Q[:, None]
        student_QG = _masked(lists.listed_QG / self.temperature, graded_QG).log_softmax(dim=1)
        teacher_QG = _masked(lists.grades_QG / self.teacher_temperature, graded_QG).softmax(dim=1)
        terms_QG = torch.where(graded_QG, teacher_QG * student_QG, 0.0)
        return Mean(-terms_QG.sum(), enough_Q.sum())


def _masked(logits_QG: torch.Tensor, keep_QG: torch.Tensor) -> torch.Tensor:
    """Set entries not kept to the lowest finite number: -inf would make a row that keeps none NaN."""
    import torch

    return logits_QG.masked_fill(~keep_QG, torch.finfo(logits_QG.dtype).min)
