"""Encoders build MODEL, the sentence-transformers folder that embeds queries and documents.

An encoder is a frozen dataclass that inherits ``Encoder`` and whose ``build`` writes the folder. A trainable
encoder also has the method of ``TrainableEncoder``. To add an encoder, write ``gradret/encoders/NAME.py``
with a dataclass called NAME.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact
    from gradret.training.step import Student

__all__ = ["Encoder", "TrainableEncoder"]


class Encoder(Protocol):
    """The interface that the stage ``base`` uses. Inherit from it to get the defaults."""

    reads_docs: ClassVar[bool] = False
    """Whether the model depends on the corpus."""
    trainable: ClassVar[bool] = False
    """Whether the encoder has ``student``, which the stage ``train`` needs."""

    model: str = ""
    """The folder, ``package:NAME`` or hub id that it loads, if any; the content of a folder is fingerprinted."""
    trust_remote_code: bool = False
    """Whether Python code that comes with the model may run."""
    dropout: float = 0.0
    """Dropout in training; above 0 the result depends on the chunk size, which is then fingerprinted."""

    def reads(self, config: Config) -> dict[str, object]:
        """Return the config values, beyond the encoder's own fields, that the model depends on."""

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        """Write a sentence-transformers model into the empty ``folder``; return notes for the manifest."""

    def check(self) -> None:
        """Check, before a run's first stage, that the model can be used.

        Raises:
            ConfigError: it cannot.
        """

    def as_saved(self) -> Encoder:
        """Return the encoder whose student gives the saved model's vectors: in float32, with its lengths."""
        return self


class TrainableEncoder(Encoder, Protocol):
    """The interface that the stage ``train`` uses."""

    def student(self, folder: Path, device: str = "cpu") -> Student:
        """Return the model in ``folder``, ready to be trained."""
