"""Listwise distillation: KL divergence from the teacher's distribution over a list to the student's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from gradret.losses import Lists

__all__ = ["KL"]


@dataclass(frozen=True)
class KL:
    r"""``KL(softmax(grades / teacher_temperature) || softmax(scores / student_temperature))``, mean over queries.

    Own list only, no factor of the squared temperature. Documents without a grade leave both sums.

    Source: Tamber et al. 2025 (2502.19712), equation 1, with 0.05 and 0.30; verified against the
    paper's text. The defaults here are for the embedded default's student.
    """

    weight: float = 1.0
    student_temperature: float = 0.05
    teacher_temperature: float = 0.15

    def __post_init__(self) -> None:
        if min(self.student_temperature, self.teacher_temperature) <= 0:
            raise ValueError("temperatures must be above 0: a negative one turns the objective around")

    def load(self) -> torch.nn.Module:
        return _Divergence(self.student_temperature, self.teacher_temperature)


class _Divergence(torch.nn.Module):
    def __init__(self, student_temperature: float, teacher_temperature: float) -> None:
        super().__init__()
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature

    def forward(self, lists: Lists) -> torch.Tensor:
        graded_QG = lists.present_QG & ~lists.grades_QG.isnan()
        scores_QG = lists.scores_QN.gather(1, lists.columns_QG) / self.student_temperature
        student_QG = _log_softmax(scores_QG, graded_QG)
        teacher_QG = _log_softmax(lists.grades_QG.nan_to_num() / self.teacher_temperature, graded_QG)
        terms_QG = teacher_QG.exp() * (teacher_QG - student_QG)
        return torch.where(graded_QG, terms_QG, 0.0).sum() / len(terms_QG)


def _log_softmax(logits_QG: torch.Tensor, keep_QG: torch.Tensor) -> torch.Tensor:
    """Over kept entries; the others become 0, and so does a row that keeps none."""
    lowest = torch.finfo(logits_QG.dtype).min
    logs_QG = functional.log_softmax(logits_QG.masked_fill(~keep_QG, lowest), dim=1)
    return torch.where(keep_QG, logs_QG, 0.0)
