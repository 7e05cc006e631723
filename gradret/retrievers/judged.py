"""Documents that the dataset judges for a training query, relevant or not."""

from __future__ import annotations

from dataclasses import dataclass

from gradret.retrievers.positives import Positives

__all__ = ["Judged"]


@dataclass(frozen=True)
class Judged(Positives):
    """Every document judged for the query in the dataset's split ``train``, highest grade first.

    Those judged not relevant are negatives, such as those of training lists. Add the retriever ``positives`` too,
    which tells ``select`` which of them are relevant.
    """

    min_relevance: int = 0
    """The lowest grade to return; TREC gives spam a lower one."""
