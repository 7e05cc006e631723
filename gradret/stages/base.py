"""Build the model before training: MODEL, a sentence-transformers folder.

The tuned model starts from it and is compared with it. A teacher's encoder is built the same way.
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
    """Build the folder ``model`` from ``encoder``, by default ``train.encoder``.

    An encoder that reads no documents builds the same model for every corpus, so it is built once.

    Raises:
        ConfigError: the model that the encoder names cannot be found.
    """
    encoder = encoder or config.train.encoder
    body = functools.partial(_base, config, encoder, ingested)
    settings = {"encoder": encoder, "content": content(encoder.model), **encoder.reads(config)}
    inputs = {"docs": ingested} if encoder.reads_docs else {}
    return make("base", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _base(config: Config, encoder: Encoder, ingested: Artifact, draft: Draft) -> None:
    draft.notes |= encoder.build(config, ingested, draft.folder("model"))
    draft.notes["trust_remote_code"] = encoder.trust_remote_code
