"""Build the model before training: MODEL, a sentence-transformers folder.

The tuned model starts from it and is compared with it. A teacher's encoder is built the same way.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.components import name_of
from gradret.models.license import say_license, stated_license
from gradret.models.locate import content
from gradret.store.artifacts import Artifact, Draft, make

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.encoders import Encoder

__all__ = ["base", "title"]


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
    about = _title(name_of(encoder), encoder.model)
    return make("base", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body, about=about)


def title(model: Artifact) -> str:
    """A name of MODEL for people: ``tuned model``, or the encoder and what it was built from."""
    if model.stage == "train":
        return "tuned model"
    encoder = model.manifest["settings"].get("encoder", {})
    return _title(str(encoder.get("name", "model")), str(encoder.get("model", "")))


def _title(encoder: str, reference: str) -> str:
    return f"{encoder} {Path(reference).name.rpartition(':')[2]}".rstrip()


def _base(config: Config, encoder: Encoder, ingested: Artifact, draft: Draft) -> None:
    say_license(encoder.model)
    draft.notes |= encoder.build(config, ingested, draft.folder("model"))
    draft.notes["license"] = stated_license(encoder.model)
    draft.notes["trust_remote_code"] = encoder.trust_remote_code
