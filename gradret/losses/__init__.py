"""Losses: from scores and grades to a number.

A loss is a frozen dataclass whose ``load`` gives a ``torch.nn.Module`` from ``Lists`` to ``Mean``.
It sees tensors, never models, so one file serves every encoder. Every loss has a ``weight``; a
list of losses in the config is their weighted sum. To add one, write ``gradret/losses/NAME.py``
with a dataclass called NAME.

Shapes: Q queries, N unique documents of the batch (columns), G documents of a list. Losses are
computed over blocks of the batch's queries, so Q may be less than the batch's; N never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch

__all__ = ["NEEDS", "Lists", "Loss", "Mean"]

NEEDS = {
    "positive": "a document known to be relevant",
    "grade": "a graded document",
    "two graded": "two graded documents",
    "two grades": "two documents of different grades",
    "teacher scores": "the teacher's raw scores of its first positive and of a document that is none",
}
"""What a loss may need of a query's list, as ``Loss.needs`` names it. Where a list lacks it, the
query adds nothing to the loss; where no list has it, training stops before the first step."""


@dataclass
class Lists:
    """Everything a loss may look at; the same on every worker."""

    scores_QN: torch.Tensor
    """Similarity of every query and every document of the batch."""
    columns_QG: torch.Tensor
    """Which column each document of a query's list is; 0 where there is none."""
    present_QG: torch.Tensor
    """False where a list is shorter than G."""
    grades_QG: torch.Tensor
    """0 to 1; NaN where ungraded."""
    teacher_QG: torch.Tensor
    """The teacher's raw scores; NaN where unscored."""
    positives_QG: torch.Tensor
    """True for documents known to be relevant; these come first in a list, in stored order."""
    masked_QN: torch.Tensor
    """True where a document is known to be relevant but is not in the query's list: it leaves every sum."""
    firsts_N: torch.Tensor
    """True where the document is the first positive of any query of the batch."""
    draws_Q: torch.Tensor
    """A number for each query that changes by one an epoch: ``hash(query_id, seed) + epoch``."""

    @property
    def graded_QG(self) -> torch.Tensor:
        """True where a list holds a document with a grade."""
        return self.present_QG & ~self.grades_QG.isnan()

    @property
    def listed_QG(self) -> torch.Tensor:
        """Scores of the documents of each list; where there is none, that of column 0."""
        return self.scores_QN.gather(1, self.columns_QG)

    def spread(self, values_QG: torch.Tensor, where_QG: torch.Tensor, fill: float) -> torch.Tensor:
        """``(Q, N)``: a list's values at its documents' columns where ``where_QG``, elsewhere ``fill``."""
        values_QN = values_QG.new_full(self.scores_QN.shape, fill)
        rows, places = where_QG.nonzero(as_tuple=True)
        values_QN[rows, self.columns_QG[rows, places]] = values_QG[rows, places]
        return values_QN


class Mean(NamedTuple):
    """A loss as ``total / count``. Both add up over blocks of queries; ``count`` 0 makes the loss 0."""

    total: torch.Tensor
    """A scalar with a gradient."""
    count: torch.Tensor  # type: ignore[assignment]  # tuple.count is nothing that anyone needs here
    """How many terms (usually queries) ``total`` has; a scalar without gradient."""


class Loss(Protocol):
    """What train needs of a loss."""

    weight: float
    whole_batch: ClassVar[bool]
    """The loss is no sum over queries, and so needs all of the batch's queries at once."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of ``NEEDS``: a list must have all of them to take part. A class variable where fields do not matter."""

    def load(self) -> torch.nn.Module:
        """A module called with ``Lists`` that returns ``Mean``; its parameters, if any, are trained too."""
