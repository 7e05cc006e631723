"""A model that reads query and document together and gives them one score."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradret.errors import ConfigError
from gradret.models.inference import pack
from gradret.models.locate import locate, positions
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

    Takes any folder that sentence-transformers opens as a CrossEncoder for sequence classification. Of a pair
    that is too long the longer text is cut, token by token, as there: the document, unless the query is
    longer than half of what is read. Scores are those of ``CrossEncoder.predict``, with the activation that is
    named here in place of the folder's own.

    Source: Nogueira & Cho 2019 (1901.04085); implementation: sentence-transformers.
    """

    activation: Literal["logit", "sigmoid"] = "logit"
    """What a score is, whatever the folder says: the raw logit, or its sigmoid, which lies in [0, 1]."""
    max_length: int | None = None
    """Tokens of a pair that are read; null is the folder's own length."""

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length must be at least 1, or null, got {self.max_length}")

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"docs": ingested, "queries": queries, "model": checked(config, self, self._check)}

    def load(self, prepared: dict[str, Artifact]) -> ForwardGrader:
        return ForwardGrader(functools.partial(_Model, self), prepared, self.precision, self.resources)

    def _check(self) -> Mapping[str, object]:
        return {"max_length": _Model(self, "cpu").model.max_seq_length, "activation": self.activation}


class _Model:
    def __init__(self, settings: CrossEncoder, device: str) -> None:
        import torch
        from sentence_transformers import CrossEncoder as Opened

        with opening(settings):
            folder = locate(settings.model, settings.sha256, code=settings.trust_remote_code)
            self.model: Any = Opened(
                str(folder),
                device=device,
                trust_remote_code=settings.trust_remote_code,
                max_length=settings.max_length,
                model_kwargs={"dtype": torch.float32},
            )
        self.model.eval()
        _refuse(settings, self.model)
        _bound(settings, self.model)
        pack(self.model)
        tokens = self.model.tokenizer
        self.padding = {"input_ids": tokens.pad_token_id or 0, "token_type_ids": tokens.pad_token_type_id}
        self.side = tokens.padding_side
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


def _refuse(settings: CrossEncoder, model: Any) -> None:
    task = getattr(model[0], "transformer_task", None)
    if task in ("text-generation", "any-to-any"):
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} is a model that writes text; take the teacher decoder_reranker"
        )
    made = getattr(model.config, "architectures", None) or []
    scores = settings.trust_remote_code or any(name.endswith("ForSequenceClassification") for name in made)
    if task == "sequence-classification" and not scores:
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} was saved as {', '.join(made) or 'nothing known'}, "
            "not for sequence classification: it would score with random weights; take a trained cross-encoder"
        )
    if model.num_labels != 1:
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} has {model.num_labels} labels where one was expected, "
            "the relevance of the document"
        )


def _bound(settings: CrossEncoder, model: Any) -> None:
    """Read no more tokens than the model has positions for."""
    longest = positions(model)
    if longest is None:
        return
    if settings.max_length is not None and settings.max_length > longest:
        raise ConfigError(
            f"teacher cross_encoder: max_length must be at most {longest}, which {settings.model!r} can read; "
            f"got {settings.max_length}"
        )
    model.max_seq_length = min(model.max_seq_length or longest, longest)
