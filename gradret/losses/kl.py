"""Listwise distillation: KL divergence from the teacher's distribution over documents to the student's."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from gradret.errors import ConfigError, DataError
from gradret.losses import Mean

if TYPE_CHECKING:
    import torch

    from gradret.losses import Lists, LossFunction

__all__ = ["KL"]


@dataclass(frozen=True)
class KL:
    """``KL(softmax(grades / teacher_temperature) || softmax(scores / student_temperature))``.

    Mean over queries with at least two graded documents (``columns: batch``: at least one), without a factor
    of the squared temperature. Documents without a grade are excluded from both distributions.

    Source: Tamber et al. 2025 (2502.19712), equation 1, with 0.05 and 0.30 over a list of 20;
    verified against the paper's text and code. The defaults here are for the default student on the
    embedded dataset. With ``columns: batch``, ``student_temperature: 1`` and ``teacher_temperature``
    1 / (levels - 1), which makes grades integers again, it is the KL that SyCL (2503.23239) compares
    with; verified against the authors' code, which repeats a document for every list that contains
    it and masks none.
    """

    weight: float = 1.0
    # int is listed because YAML's 1 is an int and a union type converts nothing.
    student_temperature: float | int | Literal["calibrated"] = 0.05
    """``calibrated`` chooses the value that minimises this loss for the untrained student."""
    teacher_temperature: float = 0.15
    columns: Literal["list", "batch"] = "list"
    """``list`` compares over the query's list, ``batch`` over all documents of the batch, at grade 0 if unlisted."""

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

    def load(self) -> LossFunction:
        """Return the loss.

        Raises:
            ConfigError: the student's temperature is not calibrated yet.
        """
        if isinstance(self.student_temperature, str):
            raise ConfigError(
                f"kl: student_temperature must be a number, got {self.student_temperature!r}; call calibrated() first"
            )
        return functools.partial(self._mean, self.student_temperature)

    def _mean(self, student_temperature: float, lists: Lists) -> Mean:
        enough_Q = _enough(lists, self.columns)
        # C: G of the list or N of the batch.
        if self.columns == "list":
            scores_QC, grades_QC, keep_QC = lists.listed_QG, lists.grades_QG, lists.graded_QG & enough_Q[:, None]
        else:
            scores_QC, grades_QC = lists.scores_QN, lists.spread(lists.grades_QG, lists.present_QG, fill=0.0)
            keep_QC = ~lists.masked_QN & ~grades_QC.isnan() & enough_Q[:, None]
        student_QC = _log_softmax(scores_QC / student_temperature, keep_QC)
        teacher_QC = _log_softmax(grades_QC / self.teacher_temperature, keep_QC)
        return Mean((teacher_QC.exp() * (teacher_QC - student_QC)).sum(), enough_Q.sum())

    def calibrated(self, batches: Iterable[Lists]) -> KL:
        """Return a copy with the student temperature in [0.001, 10] that minimises the mean KL over ``batches``.

        The KL is convex in 1 / temperature, so the minimum is unique; it is found to about 5 digits. If the
        scores contradict the grades, it is 10.

        Raises:
            DataError: no list has a grade.
        """
        from scipy.optimize import minimize_scalar

        detached = [replace(lists, scores_QN=lists.scores_QN.detach().double()) for lists in batches]
        if not any(_enough(lists, self.columns).any() for lists in detached):
            raise DataError(
                f"kl: student_temperature: cannot calibrate: no graded query in {len(detached)} batches; set a number"
            )

        def mean(log_temperature: float) -> float:
            loss = replace(self, student_temperature=math.exp(log_temperature)).load()
            totals, counts = zip(*(loss(lists) for lists in detached), strict=True)
            return float(sum(totals) / sum(counts))

        minimum = minimize_scalar(mean, bounds=(math.log(1e-3), math.log(10)), method="bounded")
        return replace(self, student_temperature=math.exp(minimum.x))


def _enough(lists: Lists, columns: Literal["list", "batch"]) -> torch.Tensor:
    """Return whether each query has enough graded documents, ``(Q,)``."""
    return lists.graded_QG.sum(dim=1) >= (2 if columns == "list" else 1)


def _log_softmax(logits_QC: torch.Tensor, keep_QC: torch.Tensor) -> torch.Tensor:
    """Compute the log-softmax over kept entries; other entries, and rows that keep none, become 0."""
    import torch

    lowest = torch.finfo(logits_QC.dtype).min
    logs_QC = logits_QC.masked_fill(~keep_QC, lowest).log_softmax(dim=1)
    return torch.where(keep_QC, logs_QC, 0.0)
