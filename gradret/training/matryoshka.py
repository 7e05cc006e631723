"""Matryoshka representation learning: train prefixes of the vectors, so that they can be cut short.

Source: Kusupati et al. 2022 (NeurIPS). Verified against sentence-transformers' MatryoshkaLoss.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gradret.models.similarity import similarity
from gradret.store.atomic import write_json
from gradret.training.objective import Objective

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradret.config.train import Train
    from gradret.training.batches import Batch

__all__ = ["Matryoshka", "note_dimensions", "prefix", "prefix_weights"]

_SETTINGS = "config_sentence_transformers.json"


class Matryoshka(Objective):
    """The weighted sum of a loss over prefixes of the vectors; its learned parameters are shared by all of them.

    Args:
        whole: the loss of vectors of any dimension.
        weights: the weight of each dimension.
        normalize: scale prefixes to length 1, for a student whose similarity is cosine.
    """

    def __init__(self, whole: Objective, weights: Mapping[int, float], *, normalize: bool) -> None:
        super().__init__(())
        self.whole, self.prefixes, self.normalize = whole, dict(weights), normalize

    def forward(self, batch: Batch, vectors: torch.Tensor) -> torch.Tensor:
        total = vectors.new_zeros(())
        for dimension, weight in self.prefixes.items():
            total = total + weight * self.whole(batch, prefix(vectors, dimension, normalize=self.normalize))
        return total


def prefix(vectors: torch.Tensor, dimension: int, *, normalize: bool) -> torch.Tensor:
    """Return the first ``dimension`` numbers of each vector, with ``normalize`` scaled to length 1 unless all are 0."""
    if dimension == vectors.shape[1]:
        return vectors
    cut = vectors[:, :dimension]
    if not normalize:
        return cut
    # Not functional.normalize: its gradient at a vector of zeros is 1e12 times the one that comes in.
    lengths = torch.linalg.vector_norm(cut, dim=1, keepdim=True)
    return cut / torch.where(lengths > 0, lengths, 1.0)


def prefix_weights(settings: Train, dimension: int) -> dict[int, float]:
    """Return the weight of each dimension of ``train.dimensions``, and of ``dimension``, the student's own."""
    weights = settings.dimension_weights or (1.0,) * len(settings.dimensions)
    return {dimension: 1.0} | dict(zip(settings.dimensions, weights, strict=True))


def note_dimensions(folder: Path, settings: Train, dimension: int) -> dict[str, object]:
    """Add to the settings of the model in ``folder`` which values of sentence-transformers' ``truncate_dim`` it suits.

    ``truncate_dim`` itself stays unset, so that the model gives full vectors unless asked for fewer dimensions.

    Returns:
        The same for a manifest, and whether vectors that are cut must be normalised; nothing without ``dimensions``.
    """
    if not settings.dimensions:
        return {}
    path, suited = folder / _SETTINGS, sorted(prefix_weights(settings, dimension))
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"matryoshka_dimensions": suited})
    return {"dimensions": suited, "normalize": similarity(folder) == "cosine"}
