"""Compare a trained teacher with the teacher that scored its lists, and with sums of both, on the held-out lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gradret.training.dev import ndcg
from gradret.training.loop import load_lists
from gradret.training.step import Texts, encode
from gradret.training.tokens import Tokens

if TYPE_CHECKING:
    from gradret.training.batches import Batch
    from gradret.training.loop import Job
    from gradret.training.step import Student

__all__ = ["WEIGHTS", "compare"]

WEIGHTS = tuple(2.0**power for power in range(-6, 4))
"""Weights of the trained teacher's scores that are tried in a sum."""


def compare(student: Student, job: Job) -> dict[str, float]:
    """Return nDCG@10 of the held-out lists, with grades as gains, by each teacher.

    ``trained`` is the trained one; if ``label.teacher`` scored all documents, ``label.teacher`` is that, ``sum`` its
    score plus ``weight`` times the trained one, for the best of ``WEIGHTS``.

    Args:
        student: the trained teacher.
        job: its training.
    """
    tokens = job.work / "tokens"
    texts = Texts(Tokens(tokens / "dev"), Tokens(tokens / "docs"), job.settings.resources.chunk_size)
    batches = list(load_lists(job, "dev").in_order(job.settings.batch_size))
    trained = [encode(student, batch, texts).double() for batch in batches]
    compared = {"trained": _mean(batches, trained)}
    if any(np.isnan(batch.teacher_QG[batch.present_QG]).any() for batch in batches):
        return compared
    given = [_teacher_scores(batch) for batch in batches]
    sums = {
        weight: _mean(batches, [one + weight * other for one, other in zip(given, trained, strict=True)])
        for weight in WEIGHTS
    }
    best = max(sums, key=lambda weight: sums[weight])
    return compared | {"label.teacher": _mean(batches, given), "sum": sums[best], "weight": best}


def _mean(batches: list[Batch], scores: list[torch.Tensor]) -> float:
    """Mean nDCG@10 of all lists; scores are ``(N + Q, 1)``, those of pairs first."""
    found = []
    for batch, pairs in zip(batches, scores, strict=True):
        vectors = pairs.clone()
        vectors[len(batch.docs_N) :] = 1
        found.append(ndcg(batch, vectors))
    return float(torch.cat(found).mean())


def _teacher_scores(batch: Batch) -> torch.Tensor:
    vectors = torch.zeros(len(batch.docs_N) + len(batch.queries_Q), 1, dtype=torch.float64)
    pairs = torch.from_numpy(batch.columns_QG[batch.present_QG])
    vectors[pairs, 0] = torch.from_numpy(batch.teacher_QG[batch.present_QG]).double()
    return vectors
