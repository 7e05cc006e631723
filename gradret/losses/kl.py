"""Listwise distillation: KL divergence from the teacher's distribution over documents to the student's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn import functional

from gradret.errors import ConfigError, DataError
from gradret.losses import Mean

if TYPE_CHECKING:
    from gradret.losses import Lists

__all__ = ["KL"]


@dataclass(frozen=True)
class KL:
    """``KL(softmax(grades / teacher_temperature) || softmax(scores / student_temperature))``.

    Mean over queries with two graded documents (``columns: batch``: with one); no factor of the squared
    temperature. Documents without a grade leave both distributions.

    Source: Tamber et al. 2025 (2502.19712), equation 1, with 0.05 and 0.30 over a list of 20;
    verified against the paper's text and code. The defaults here are for the embedded default's
    student. With ``columns: batch``, ``student_temperature: 1`` and ``teacher_temperature``
    1 / (levels - 1), which makes grades integers again, it is the KL that SyCL (2503.23239) compares
    with; verified against the authors' code, which has a document once for every list that holds it
    and masks none.
    """

    weight: float = 1.0
    # int: YAML's 1 is one, and a union converts nothing.
    student_temperature: float | int | Literal["calibrated"] = 0.05
    """``calibrated``: the one at which the student, before its training, is nearest to the teacher."""
    teacher_temperature: float = 0.15
    columns: Literal["list", "batch"] = "list"
    """The documents of the query's list; or all of the batch, at grade 0 where the list lacks them."""

    whole_batch: ClassVar = False

    @property
    def needs(self) -> tuple[str, ...]:
        return ("two graded",) if self.columns == "list" else ("grade",)

    def __post_init__(self) -> None:
        student, teacher = self.student_temperature, self.teacher_temperature
        if student != "calibrated" and (isinstance(student, str) or student <= 0):
            raise ValueError(f"student_temperature must be above 0 or 'calibrated', got {student!r}")
        if teacher <= 0:
            raise ValueError(f"teacher_temperature must be above 0, got {teacher}")

    def load(self) -> torch.nn.Module:
        """The module.

        Raises:
            ConfigError: the student's temperature is still to be calibrated.
        """
        if isinstance(self.student_temperature, str):
            raise ConfigError(
                f"kl: student_temperature is {self.student_temperature!r} where a number was expected; "
                "load what calibrated() returns"
            )
        return _Divergence(self.student_temperature, self.teacher_temperature, self.columns)

    def calibrated(self, batches: Iterable[Lists]) -> KL:
        """A copy with the student's temperature, from 0.001 to 10, that makes the mean KL over ``batches`` smallest.

        The KL is convex in 1 / temperature, so there is one lowest place; it is found to about 5
        digits. Where the scores contradict the grades it is at 10.

        Raises:
            DataError: no list has a grade.
        """
        from scipy.optimize import minimize_scalar

        given = [replace(lists, scores_QN=lists.scores_QN.detach().double()) for lists in batches]
        if not any(_enough(lists, self.columns).any() for lists in given):
            raise DataError(
                f"kl: student_temperature: cannot calibrate: no graded query in {len(given)} batches; set a number"
            )

        def mean(log_temperature: float) -> float:
            loss = replace(self, student_temperature=math.exp(log_temperature)).load()
            totals, counts = zip(*(loss(lists) for lists in given), strict=True)
            return float(sum(totals) / sum(counts))

        found = minimize_scalar(mean, bounds=(math.log(1e-3), math.log(10)), method="bounded")
        return replace(self, student_temperature=math.exp(found.x))


class _Divergence(torch.nn.Module):
    def __init__(
        self, student_temperature: float, teacher_temperature: float, columns: Literal["list", "batch"]
    ) -> None:
        super().__init__()
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.columns = columns

    def forward(self, lists: Lists) -> Mean:
        enough_Q = _enough(lists, self.columns)
        # C: G of the list or N of the batch.
        if self.columns == "list":
            scores_QC, grades_QC, keep_QC = lists.listed_QG, lists.grades_QG, lists.graded_QG & enough_Q[:, None]
        else:
            scores_QC, grades_QC = lists.scores_QN, lists.spread(lists.grades_QG, lists.present_QG, fill=0.0)
            keep_QC = ~lists.masked_QN & ~grades_QC.isnan() & enough_Q[:, None]
        student_QC = _log_softmax(scores_QC / self.student_temperature, keep_QC)
        teacher_QC = _log_softmax(grades_QC / self.teacher_temperature, keep_QC)
        return Mean((teacher_QC.exp() * (teacher_QC - student_QC)).sum(), enough_Q.sum())


def _enough(lists: Lists, columns: Literal["list", "batch"]) -> torch.Tensor:
    """``(Q,)``: the query has as many graded documents as make a distribution."""
    return lists.graded_QG.sum(dim=1) >= (2 if columns == "list" else 1)


def _log_softmax(logits_QC: torch.Tensor, keep_QC: torch.Tensor) -> torch.Tensor:
    """Over kept entries; the others become 0, and so does a row that keeps none."""
    lowest = torch.finfo(logits_QC.dtype).min
    logs_QC = functional.log_softmax(logits_QC.masked_fill(~keep_QC, lowest), dim=1)
    return torch.where(keep_QC, logs_QC, 0.0)
