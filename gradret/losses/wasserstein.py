"""SyCL's loss: the Wasserstein distance between the batch's score and grade distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gradret.config.fields import above_zero, at_least, require
from gradret.losses import Mean

if TYPE_CHECKING:
    import torch

    from gradret.losses import Lists, LossFunction

__all__ = ["Wasserstein"]


@dataclass(frozen=True)
class Wasserstein:
    """Squared 2-Wasserstein distance between two Gaussians: one fitted to the scores, one to the grades.

    ``|mu_P - mu_Y|^2 + |A|^2 + |C|^2 - 2 |A C^T|_*``, one number for the batch.

    Each of the B queries with a grade is a row of ``P = softmax(scores / temperature)`` and of
    ``Y = softmax(grades * (levels - 1))``, ``(B, N)``, over all documents of the batch; documents not in
    the query's list have grade 0. mu is the mean row; A and C are P and Y minus their mean rows, divided by
    ``sqrt(B - 1)`` (by 1 if B = 1), so that ``A^T A`` and ``C^T C`` are the covariances; ``|.|_*`` is the
    sum of singular values. Listed documents without a grade, and documents known to be relevant but not
    in the list, have probability 0 in both rows.

    The targets depend on the batch: with 256 documents, 4 of them in the list, grades 3, 2, 1, 0 of 4
    levels have the probabilities 0.0709, 0.0261, 0.0096, 0.0035, and all others together 0.8899. Swapping
    the scores of two queries changes nothing: only the documents link a query to its grades.

    Computed in float64, in the time of a singular value decomposition of ``(B, B)`` and the memory of a
    few ``(B, N)``.

    Source: SyCL (2503.23239); verified against the authors' code, not the paper's text. There, a document
    counts once for every list that contains it, nothing is masked, and 1e-15 is added to every squared
    singular value to keep the gradient finite. Its root, 3e-8, can exceed the singular values of a large
    batch; here, singular values that are 0 up to rounding are dropped instead.
    """

    weight: float = 1.0
    temperature: float = 1.0
    """1 suits dot products of unnormalised vectors; cosines need a much lower value."""
    levels: int = 4
    """Number of grades; grades in [0, 1] are multiplied by ``levels - 1``."""

    needs: ClassVar = ("grade",)
    whole_batch: ClassVar = True

    def __post_init__(self) -> None:
        require(temperature=above_zero(self.temperature), levels=at_least(2, self.levels))

    def load(self) -> LossFunction:
        return self._mean

    def _mean(self, lists: Lists) -> Mean:
        has_grade_Q = lists.graded_QG.any(dim=1)
        if not has_grade_Q.any():
            return Mean(lists.scores_QN[has_grade_Q].sum(), has_grade_Q.sum())
        grades_QN = lists.spread(lists.grades_QG, lists.present_QG, fill=0.0)
        out_BN = (lists.masked_QN | grades_QN.isnan())[has_grade_Q]
        scores_BN = lists.scores_QN[has_grade_Q].double() / self.temperature
        grades_BN = grades_QN[has_grade_Q].double() * (self.levels - 1)
        distance = _squared_distance(
            scores_BN.masked_fill(out_BN, -math.inf).softmax(dim=1),
            grades_BN.masked_fill(out_BN, -math.inf).softmax(dim=1),
        )
        return Mean(distance.to(lists.scores_QN.dtype), has_grade_Q.any().long())


def _squared_distance(p_BN: torch.Tensor, y_BN: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of the Gaussians with the means and covariances of the rows."""
    import torch

    scale = math.sqrt(max(1, len(p_BN) - 1))
    mean_p_N, mean_y_N = p_BN.mean(dim=0), y_BN.mean(dim=0)
    a_BN, c_BN = (p_BN - mean_p_N) / scale, (y_BN - mean_y_N) / scale
    rounding = torch.finfo(p_BN.dtype).eps * len(p_BN) * p_BN.detach().norm() * y_BN.norm() / scale**2
    overlap = _nuclear_norm(a_BN @ c_BN.T, rounding)
    return (mean_p_N - mean_y_N).square().sum() + a_BN.square().sum() + c_BN.square().sum() - 2 * overlap


def _nuclear_norm(matrix_BB: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """Return the sum of singular values above ``zero``; the gradient of the others is undefined.

    With the singular vectors held constant, both the value and the gradient, ``U V^T``, are exact.
    """
    import torch

    # Let a NaN reach the loss instead of failing in the decomposition.
    left_BB, values_B, right_BB = torch.linalg.svd(matrix_BB.detach().nan_to_num())
    kept = int((values_B > zero).sum())
    direction_BB: torch.Tensor = left_BB[:, :kept] @ right_BB[:kept]
    return (matrix_BB * direction_BB).sum()
