"""Make inner products rank as a model's own similarity does.

Indexes, training and teachers compare vectors by inner product. So an encoder either writes a model whose inner
products rank as the model's own similarity does in sentence-transformers, or rejects the model.
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
    """Return the similarity that the model's folder sets, ``cosine`` or ``dot``; ``cosine`` if it sets none.

    Raises:
        ConfigError: the similarity is another one, or the model does not give one vector per text.
    """
    name = _settings(folder).get("similarity_fn_name") or "cosine"
    if name not in ("cosine", "dot"):
        raise ConfigError(
            f"the model in {folder} has similarity {name}; gradret ranks by cosine or inner product; to use one "
            "of these, set the encoder's normalize to true (cosine) or false (inner product)"
        )
    return str(name)


def rank_by_inner_product(model: SentenceTransformer, folder: Path, *, normalize: bool | None = None) -> None:
    """Change ``model`` so that the inner products of its vectors rank as its own similarity does.

    Truncation of vectors (``truncate_dim``) becomes a layer, because normalisation must come after it.

    Args:
        model: the model, opened from ``folder``.
        folder: the model's folder.
        normalize: true for cosine, false for the inner product of vectors that are not normalised; null for the
            model's own similarity.

    Raises:
        ConfigError: ``normalize`` is null and the model's similarity is neither; or the model does not give one
            vector per text.
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
    """Return the folder's sentence-transformers settings; a transformers folder has none."""
    path = folder / _SETTINGS
    if not path.is_file():
        return {}
    try:
        settings: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); restore the model's folder") from error
    kind = settings.get("model_type") or "SentenceTransformer"
    if kind != "SentenceTransformer":
        raise ConfigError(f"the model in {folder} is a {kind}; expected a SentenceTransformer, one vector per text")
    return settings


def _cut(dimension: int, length: int) -> nn.Module:
    """Return a layer that keeps the first ``length`` of ``dimension`` numbers."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense

    length = min(length, dimension)
    return Dense(dimension, length, bias=False, activation_function=None, init_weight=torch.eye(length, dimension))
