"""A cross-encoder: a model that reads query and document together and returns one score."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradret.errors import ConfigError
from gradret.models.inference import pack
from gradret.models.locate import locate, positions
from gradret.models.whole import require_whole
from gradret.teachers._forward import ForwardGrader, ModelTeacher, Pair, Row
from gradret.teachers._model import checked, opening

if TYPE_CHECKING:
    import torch

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["CrossEncoder"]

_UNPADDED: dict[str, Any] = {"common": {"return_tensors": None}, "text": {"padding": False}}


@dataclass(frozen=True)
class CrossEncoder(ModelTeacher):
    """The logit of a sentence-transformers cross-encoder with one label, or its sigmoid.

    Accepts any folder that sentence-transformers loads as a CrossEncoder for sequence classification. As
    there, a pair that is too long is truncated token by token from its longer text: the document, unless
    the query takes more than half of ``max_length``. Scores are those of ``CrossEncoder.predict`` with
    ``activation`` in place of the folder's own.

    Source: Nogueira & Cho 2019 (1901.04085); implementation: sentence-transformers.
    """

    activation: Literal["logit", "sigmoid"] = "logit"
    """The score: the raw logit, or its sigmoid, in [0, 1]. Overrides the folder's activation."""
    max_length: int | None = None
    """Maximum tokens per pair; null uses the folder's own limit."""

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length must be at least 1, or null, got {self.max_length}")

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"docs": ingested, "queries": queries, "model": checked(config, self, self._check)}

    def load(self, prepared: dict[str, Artifact]) -> ForwardGrader:
        return ForwardGrader(functools.partial(_Model, self), prepared, self.precision, self.resources)

    def _check(self) -> Mapping[str, object]:
        notes = {"max_length": _Model(self, "cpu").model.max_seq_length, "activation": self.activation}
        folder = locate(self.model, self.sha256, code=self.trust_remote_code)
        require_whole(folder, "AutoModelForSequenceClassification", trust_remote_code=self.trust_remote_code)
        return notes


class _Model:
    def __init__(self, settings: CrossEncoder, device: str) -> None:
        import torch
        from sentence_transformers import CrossEncoder as CrossEncoderModel

        with opening(settings):
            folder = locate(settings.model, settings.sha256, code=settings.trust_remote_code)
            self.model: Any = CrossEncoderModel(
                str(folder),
                device=device,
                trust_remote_code=settings.trust_remote_code,
                max_length=settings.max_length,
                model_kwargs={"dtype": torch.float32},
            )
        self.model.eval()
        _check_model(settings, self.model)
        _limit_length(settings, self.model)
        pack(self.model)
        tokens = self.model.tokenizer
        self.padding = {"input_ids": tokens.pad_token_id or 0, "token_type_ids": tokens.pad_token_type_id}
        self.side: Literal["left", "right"] = "right"  # on the left it would shift absolute positions
        self.prompt = self.model.prompts.get(self.model.default_prompt_name)
        self.sigmoid = settings.activation == "sigmoid"

    def tokenize(self, pairs: Sequence[Pair]) -> list[Row | None]:
        import numpy as np

        features = self.model.preprocess(list(pairs), prompt=self.prompt, processing_kwargs=_UNPADDED)
        parts = {name: features[name] for name in self.padding if name in features}
        return [
            {name: np.array(values, np.int32) for name, values in zip(parts, row, strict=True)}
            for row in zip(*parts.values(), strict=True)
        ]

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        scores: torch.Tensor = self.model(batch)["scores"].float().squeeze(-1)
        return scores.sigmoid() if self.sigmoid else scores


def _check_model(settings: CrossEncoder, model: Any) -> None:
    task = getattr(model[0], "transformer_task", None)
    if task in ("text-generation", "any-to-any"):
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} is a generative model; use the teacher decoder_reranker"
        )
    architectures = getattr(model.config, "architectures", None) or []
    saved_as = ", ".join(architectures) or "an unknown architecture"
    has_head = settings.trust_remote_code or any(name.endswith("ForSequenceClassification") for name in architectures)
    if task == "sequence-classification" and not has_head:
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} was saved as {saved_as}, "
            "not for sequence classification: its scores would come from random weights; use a trained cross-encoder"
        )
    if model.num_labels != 1:
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} has {model.num_labels} labels, expected 1: "
            "the relevance of the document; use a cross-encoder trained to rank"
        )


def _limit_length(settings: CrossEncoder, model: Any) -> None:
    """Limit pairs to the number of positions that the model has."""
    longest = positions(model)
    if longest is None:
        return
    if settings.max_length is not None and settings.max_length > longest:
        raise ConfigError(
            f"teacher cross_encoder: max_length must be at most {longest}, the limit of {settings.model!r}, "
            f"got {settings.max_length}"
        )
    model.max_seq_length = min(model.max_seq_length or longest, longest)
