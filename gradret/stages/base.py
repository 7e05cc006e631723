"""The model before training: MODEL, a sentence-transformers folder.

It is what the tuned model starts from and is compared with. A teacher's encoder is made the same way.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gradret.models.locate import content
from gradret.store.artifacts import Artifact, Draft, make

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.encoders import Encoder

__all__ = ["base"]


def base(config: Config, ingested: Artifact, encoder: Encoder | None = None) -> Artifact:
    """The folder ``model`` of ``encoder``, or of ``train.encoder`` where none is given.

    One that reads no documents makes the same model for every corpus, and makes it once.

    Raises:
        ConfigError: the encoder names a model that is not there.
    """
    encoder = encoder or config.train.encoder
    body = functools.partial(_base, config, encoder, ingested)
    settings = {"encoder": encoder, "content": content(getattr(encoder, "model", "")), **encoder.reads(config)}
    inputs = {"docs": ingested} if encoder.reads_docs else {}
    return make("base", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _base(config: Config, encoder: Encoder, ingested: Artifact, draft: Draft) -> None:
    draft.notes |= encoder.build(config, ingested, draft.folder("model"))
