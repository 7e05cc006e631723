"""Encoders: where a MODEL, a sentence-transformers folder, comes from.

An encoder is a frozen dataclass whose ``build`` writes the folder. One that can be trained also has
``student(folder, device)``, which gives that model as a ``gradret.training.step.Student``. To add
one, write ``gradret/encoders/NAME.py`` with a dataclass called NAME.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Encoder"]


class Encoder(Protocol):
    """What base needs of an encoder. A component inherits it, and with it the defaults."""

    reads_docs: ClassVar[bool] = False
    """Whether the model depends on the corpus."""
    trainable: ClassVar[bool] = False
    """Whether it has ``student(folder, device)``, which train needs."""

    def reads(self, config: Config) -> dict[str, object]:
        """What of the config, beyond the encoder's own fields, decides the model."""

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        """Write a sentence-transformers model into the empty ``folder``; returns notes for the manifest."""
