"""A model's own similarity, and how inner products come to rank as it does.

gradret ranks by inner product everywhere: in indexes, in training, among teachers. So an encoder writes models whose
inner products rank as sentence-transformers ranks by the model's similarity, or refuses the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

__all__ = ["rank_by_inner_product", "similarity"]

_SETTINGS = "config_sentence_transformers.json"


def similarity(folder: Path) -> str:
    """``cosine`` or ``dot``, as the folder of the model says; ``cosine`` where it does not.

    Raises:
        ConfigError: it is another similarity, or the folder holds no model that gives a text one vector.
    """
    name = _settings(folder).get("similarity_fn_name") or "cosine"
    if name not in ("cosine", "dot"):
        raise ConfigError(
            f"the model in {folder} compares its vectors by {name}, and gradret by cosine or inner product; set "
            "the encoder's normalize to true for cosine or to false for inner product, or take another model"
        )
    return str(name)


def rank_by_inner_product(model: SentenceTransformer, folder: Path, *, normalize: bool | None = None) -> None:
    """Change ``model`` so that inner products of its vectors rank as its own similarity ranks them.

    A length that its vectors are cut to becomes a layer, since normalisation has to follow the cut.

    Args:
        model: as it was opened.
        folder: where from.
        normalize: true is cosine and false the inner product of vectors that no last layer normalises, whatever
            the folder says; null is what it says.

    Raises:
        ConfigError: ``normalize`` is null and the model compares by another similarity; or the folder holds no
            model that gives a text one vector.
    """
    from sentence_transformers.sentence_transformer.modules import Normalize

    _settings(folder)
    cosine = similarity(folder) == "cosine" if normalize is None else normalize
    if normalize is False and isinstance(model[-1], Normalize):
        del model[-1]
    if model.truncate_dim:
        length, model.truncate_dim = model.truncate_dim, None
        model.append(_cut(model.get_embedding_dimension() or length, length))
    if cosine and not isinstance(model[-1], Normalize):
        model.append(Normalize())
    model.similarity_fn_name = "cosine" if isinstance(model[-1], Normalize) else "dot"


def _settings(folder: Path) -> dict[str, Any]:
    """What the folder says of its vectors; nothing in a folder of transformers."""
    place = folder / _SETTINGS
    if not place.is_file():
        return {}
    try:
        settings: dict[str, Any] = dict(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{place} cannot be read ({error}); put the model's folder back as it was") from error
    kind = settings.get("model_type") or "SentenceTransformer"
    if kind != "SentenceTransformer":
        raise ConfigError(f"the model in {folder} is a {kind}; expected a SentenceTransformer, which gives one vector")
    return settings


def _cut(dimension: int, length: int) -> nn.Module:
    """A layer that leaves the first ``length`` of ``dimension`` numbers."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense

    length = min(length, dimension)
    return Dense(dimension, length, bias=False, activation_function=None, init_weight=torch.eye(length, dimension))
