"""Losses compute a number from scores and grades.

A loss is a frozen dataclass whose ``load`` returns a function from ``Lists`` to ``Mean``.
It sees tensors, never models, so it works with every encoder. Every loss has a ``weight``; a list of
losses in the config is their weighted sum. To add a loss, write ``gradret/losses/NAME.py`` with a
dataclass called NAME. Import torch in its functions: a config names the loss, and is read without torch.

Shapes: Q queries, N unique documents of the batch (columns), G documents of a list. Losses are
computed on blocks of the batch's queries, so Q may be smaller than the batch; N is always the batch's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch

__all__ = ["NEEDS", "Lists", "Loss", "LossFunction", "Mean"]

NEEDS = {
    "positive": "a document known to be relevant",
    "grade": "a graded document",
    "two graded": "two graded documents",
    "two grades": "two documents of different grades",
    "teacher scores": "the teacher's raw scores of the first positive and of a document that is not positive",
}
"""What a loss may need from a query's list, by the names in ``Loss.needs``. If a list lacks it, the query
adds nothing to the loss; if all lists do, training stops before the first step."""


@dataclass
class Lists:
    """The input of a loss; the same on every worker."""

    scores_QN: torch.Tensor
    """Similarity of every query and every document of the batch."""
    columns_QG: torch.Tensor
    """The column of each document of a query's list; 0 for padding."""
    present_QG: torch.Tensor
    """False for padding, where a list is shorter than G."""
    grades_QG: torch.Tensor
    """Grades from 0 to 1; NaN if there is none."""
    teacher_QG: torch.Tensor
    """The teacher's raw scores; NaN if there is none."""
    positives_QG: torch.Tensor
    """True for documents known to be relevant; these come first in a list, in stored order."""
    masked_QN: torch.Tensor
    """True for documents known to be relevant but not in the query's list: exclude them from every sum."""
    firsts_N: torch.Tensor
    """True for documents that are the first positive of any query of the batch."""
    draws_Q: torch.Tensor
    """A number per query that grows by one each epoch: ``hash(query_id, seed) + epoch``."""

    @property
    def graded_QG(self) -> torch.Tensor:
        """True for documents that have a grade."""
        return self.present_QG & ~self.grades_QG.isnan()

    @property
    def listed_QG(self) -> torch.Tensor:
        """Scores of the documents of each list; for padding, the score of column 0."""
        return self.scores_QN.gather(1, self.columns_QG)

    def spread(self, values_QG: torch.Tensor, where_QG: torch.Tensor, fill: float) -> torch.Tensor:
        """Scatter the lists' values where ``where_QG`` to their columns, ``(Q, N)``; ``fill`` elsewhere."""
        values_QN = values_QG.new_full(self.scores_QN.shape, fill)
        rows, positions = where_QG.nonzero(as_tuple=True)
        values_QN[rows, self.columns_QG[rows, positions]] = values_QG[rows, positions]
        return values_QN


class Mean(NamedTuple):
    """A loss as ``total / count``. Both add up over blocks of queries; ``count`` 0 makes the loss 0."""

    total: torch.Tensor
    """A scalar with a gradient."""
    count: torch.Tensor  # type: ignore[assignment]  # hides tuple.count
    """The number of terms in ``total``, usually queries; a scalar without gradient."""


LossFunction = Callable[[Lists], Mean]


class Loss(Protocol):
    """The interface that the stage ``train`` uses."""

    weight: float
    whole_batch: ClassVar[bool]
    """Whether it needs all of the batch's queries at once, because it is not a sum over queries."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of ``NEEDS`` that a list must meet to be used. May be a class variable if it is constant."""

    def load(self) -> LossFunction:
        """Return the loss; if it is a ``torch.nn.Module``, its parameters are trained too."""
