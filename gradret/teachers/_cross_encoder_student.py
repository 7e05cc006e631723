"""A cross-encoder during training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from gradret.errors import ConfigError
from gradret.models.dropout import set_dropout
from gradret.teachers._cross_encoder_model import UNPADDED, open_cross_encoder

if TYPE_CHECKING:
    from gradret.teachers._forward import Pair

__all__ = ["CrossEncoderStudent"]

_TOKENIZER_BATCH = 1024


class CrossEncoderStudent(torch.nn.Module):
    """A cross-encoder during training; see ``gradret.training.step.Student`` and ``gradret.training.pairs``.

    A pair is a document, whose vector is its score; a query is an empty text, whose vector is 1. So the inner product
    of a query and a pair is the pair's score. A token of the second segment is the complement of its id: below 0.
    """

    dimension = 1

    def __init__(self, settings: Any, folder: Path, device: str, dropout: float) -> None:
        super().__init__()
        self.model = open_cross_encoder(settings, folder, device)
        self.prompt = self.model.prompts.get(self.model.default_prompt_name)
        self.lengths: dict[str, int] = {"docs": self.model.max_seq_length, "queries": 1}
        self.dropout, self.autocast = dropout, settings.precision == "bfloat16"
        set_dropout(self.model, dropout)
        self.eval()

    def restrict(self, ids: np.ndarray) -> None:
        """Do nothing: all tokens' embeddings are trained."""

    def tokenize(self, texts: Sequence[Pair] | list[str], table: Literal["docs", "queries"]) -> list[np.ndarray]:
        """Tokenize pairs, as the teacher does; queries by themselves have no tokens."""
        if table == "queries":
            return [np.zeros(0, np.int32) for _ in texts]
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), _TOKENIZER_BATCH):
            part = list(texts[start : start + _TOKENIZER_BATCH])
            features = self.model.preprocess(part, prompt=self.prompt, processing_kwargs=UNPADDED)
            ids = features["input_ids"]
            segments = features.get("token_type_ids") or [[0] * len(row) for row in ids]
            rows += [_signed(*row) for row in zip(ids, segments, strict=True)]
        return rows

    def forward(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        like = next(self.model.parameters())
        vectors: torch.Tensor = like.new_ones(len(starts) - 1, 1)
        lengths = np.diff(starts)
        if not lengths.any():
            return vectors
        with torch.autocast(like.device.type, torch.bfloat16, enabled=self.autocast):
            scores = self.model(self._padded(ids, lengths[lengths > 0], like.device))["scores"]
        pairs = torch.from_numpy(lengths > 0).to(like.device)
        filled: torch.Tensor = vectors.masked_scatter(pairs[:, None], scores.to(like.dtype))
        return filled

    def _padded(self, ids: np.ndarray, lengths: np.ndarray, device: torch.device) -> dict[str, torch.Tensor]:
        """The model's inputs, ``(pairs, longest)``, padded on the right."""
        mask = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.full(mask.shape, self.model.tokenizer.pad_token_id or 0, np.int64)
        tokens[mask] = np.where(ids < 0, ~ids, ids)
        inputs = {"input_ids": tokens, "attention_mask": mask.astype(np.int64)}
        if "token_type_ids" in self.model.tokenizer.model_input_names:
            segments = np.full(mask.shape, self.model.tokenizer.pad_token_type_id, np.int64)
            segments[mask] = ids < 0
            inputs["token_type_ids"] = segments
        return {name: torch.from_numpy(values).to(device) for name, values in inputs.items()}

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder, for transformers and for sentence-transformers' ``CrossEncoder``."""
        self.model.save_pretrained(str(folder), create_model_card=False)


def _signed(ids: list[int], segments: list[int]) -> np.ndarray:
    """The ids, with those of the second segment complemented."""
    tokens, second = np.array(ids, np.int32), np.array(segments, np.int32)
    if second.max(initial=0) > 1:
        raise ConfigError("teacher cross_encoder: models with more than two segments cannot be trained; use another")
    signed: np.ndarray = np.where(second == 1, ~tokens, tokens)
    return signed
