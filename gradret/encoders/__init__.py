"""Encoders build MODEL, the sentence-transformers folder that embeds queries and documents.

An encoder is a frozen dataclass whose ``build`` writes the folder. A trainable encoder also has
``student(folder, device)``, which returns that model as a ``gradret.training.step.Student``. To add
an encoder, write ``gradret/encoders/NAME.py`` with a dataclass called NAME.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Encoder"]


class Encoder(Protocol):
    """The interface that the stage ``base`` uses. Inherit from it to get the defaults."""

    reads_docs: ClassVar[bool] = False
    """Whether the model depends on the corpus."""
    trainable: ClassVar[bool] = False
    """Whether the encoder has ``student(folder, device)``, which the stage ``train`` needs."""

    def reads(self, config: Config) -> dict[str, object]:
        """Return the config values, beyond the encoder's own fields, that the model depends on."""

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        """Write a sentence-transformers model into the empty ``folder``; return notes for the manifest."""
