"""InfoNCE: the positive against the other documents of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from gradret.losses import Lists

__all__ = ["InfoNCE"]


@dataclass(frozen=True)
class InfoNCE:
    """``-log( exp(s_p / t) / sum_c exp(s_c / t) )``, mean over queries that have a positive.

    p is the first positive of the list. c runs over the batch's first positives and, with
    ``hard_negatives``, over every document of the batch. Other documents known to be relevant to
    the query are never among its negatives.

    Source: van den Oord et al. 2018; in-batch form Karpukhin et al. 2020 (DPR).
    """

    weight: float = 1.0
    temperature: float = 0.05
    hard_negatives: bool = False

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError("temperature must be above 0: a negative one turns the objective around")

    def load(self) -> torch.nn.Module:
        return _Contrast(self.temperature, self.hard_negatives)


class _Contrast(torch.nn.Module):
    def __init__(self, temperature: float, hard_negatives: bool) -> None:  # noqa: FBT001 - private
        super().__init__()
        self.temperature, self.hard_negatives = temperature, hard_negatives

    def forward(self, lists: Lists) -> torch.Tensor:
        has_positive_Q = lists.positives_QG[:, 0] & lists.present_QG[:, 0]
        positive_Q1 = lists.columns_QG[:, :1]
        out_QN = lists.masked_QN | _other_positives(lists)
        if not self.hard_negatives:
            candidate_N = torch.zeros(lists.scores_QN.shape[1], dtype=torch.bool, device=out_QN.device)
            candidate_N[positive_Q1[has_positive_Q, 0]] = True
            out_QN = out_QN | ~candidate_N
        scores_QN = lists.scores_QN / self.temperature
        lowest = torch.finfo(scores_QN.dtype).min
        all_Q = scores_QN.masked_fill(out_QN, lowest).logsumexp(dim=1)
        losses_Q = all_Q - scores_QN.gather(1, positive_Q1)[:, 0]
        return torch.where(has_positive_Q, losses_Q, 0.0).sum() / has_positive_Q.sum().clamp(min=1)


def _other_positives(lists: Lists) -> torch.Tensor:
    """``(Q, N)``: listed positives of the query other than its first."""
    others_QG = lists.positives_QG & lists.present_QG
    others_QG[:, 0] = False
    out_QN = torch.zeros_like(lists.masked_QN)
    return out_QN.scatter_reduce(1, lists.columns_QG, others_QG, reduce="amax")
