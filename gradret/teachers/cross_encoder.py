"""A cross-encoder: a model that reads query and document together and returns one score."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from gradret.models.inference import pack
from gradret.models.locate import locate
from gradret.models.whole import require_whole
from gradret.teachers._cross_encoder_model import UNPADDED, open_cross_encoder
from gradret.teachers._forward import ForwardGrader, ModelTeacher, Pair, Row
from gradret.teachers._model import checked, opening

if TYPE_CHECKING:
    import torch

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact
    from gradret.teachers._cross_encoder_student import CrossEncoderStudent

__all__ = ["CrossEncoder"]


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

    trainable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length must be at least 1, or null, got {self.max_length}")

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"docs": ingested, "queries": queries, "model": checked(config, self, self._check)}

    def load(self, prepared: dict[str, Artifact]) -> ForwardGrader:
        return ForwardGrader(functools.partial(_Model, self), prepared, self.precision, self.resources)

    def start(self, folder: Path, seed: int) -> None:
        """Write the model to train from to ``folder``: of a model with another head or none, with a new one."""
        import torch

        with opening(self):
            source = locate(self.model, self.sha256, code=self.trust_remote_code)
        require_whole(source, trust_remote_code=self.trust_remote_code)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            model = open_cross_encoder(self, source, "cpu", num_labels=1)
        model.save_pretrained(str(folder), create_model_card=False)

    def student(self, folder: Path, device: str = "cpu", dropout: float = 0.0) -> CrossEncoderStudent:
        """Load the model in ``folder`` for training."""
        from gradret.teachers._cross_encoder_student import CrossEncoderStudent

        return CrossEncoderStudent(self, folder, device, dropout)

    def trained(self, folder: Path) -> CrossEncoder:
        """The teacher with the model in ``folder``."""
        return replace(self, model=str(folder), sha256="")

    def _check(self) -> Mapping[str, object]:
        notes = {"max_length": _Model(self, "cpu").model.max_seq_length, "activation": self.activation}
        folder = locate(self.model, self.sha256, code=self.trust_remote_code)
        require_whole(folder, "AutoModelForSequenceClassification", trust_remote_code=self.trust_remote_code)
        return notes


class _Model:
    def __init__(self, settings: CrossEncoder, device: str) -> None:
        with opening(settings):
            folder = locate(settings.model, settings.sha256, code=settings.trust_remote_code)
        self.model = open_cross_encoder(settings, folder, device)
        self.model.eval()
        pack(self.model)
        tokens = self.model.tokenizer
        self.padding = {"input_ids": tokens.pad_token_id or 0, "token_type_ids": tokens.pad_token_type_id}
        self.side: Literal["left", "right"] = "right"  # on the left it would shift absolute positions
        self.prompt = self.model.prompts.get(self.model.default_prompt_name)
        self.sigmoid = settings.activation == "sigmoid"

    def tokenize(self, pairs: Sequence[Pair]) -> list[Row | None]:
        import numpy as np

        features = self.model.preprocess(list(pairs), prompt=self.prompt, processing_kwargs=UNPADDED)
        parts = {name: features[name] for name in self.padding if name in features}
        return [
            {name: np.array(values, np.int32) for name, values in zip(parts, row, strict=True)}
            for row in zip(*parts.values(), strict=True)
        ]

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        scores: torch.Tensor = self.model(batch)["scores"].float().squeeze(-1)
        return scores.sigmoid() if self.sigmoid else scores
