"""Load the tokenizer and the input embeddings of any transformer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError
from gradret.models.locate import quiet

if TYPE_CHECKING:
    import numpy as np
    import torch
    from tokenizers import Tokenizer

__all__ = ["input_embeddings"]


def input_embeddings(source: Path) -> tuple[Tokenizer, np.ndarray]:
    """Return a model's tokenizer, and its input embeddings ``(n, d)`` in float32 in the order of token ids.

    transformers loads them, so the checkpoint's tensor names, shards and precision do not matter. Rows after the
    tokenizer's last id are padding and are dropped. Tokens added to the vocabulary may have no row.

    Args:
        source: a transformers folder, or a sentence-transformers folder whose first module is a Transformer.

    Raises:
        ConfigError: transformers cannot load the model, or it has no matrix of input embeddings.
    """
    quiet()
    try:
        folder = _transformer(source)
        tokenizer, weight = _tokenizer(folder), _weight(folder)
    except Exception as error:  # each library raises its own error for an unreadable file
        why = "it needs its own Python code, which is not run" if "trust_remote_code" in str(error) else error
        raise ConfigError(f"the model in {source} cannot be the base of a static encoder: {why}") from error
    return tokenizer, weight.numpy()[: 1 + max(tokenizer.get_vocab().values())]


def _transformer(source: Path) -> Path:
    """Return the transformers folder within ``source``."""
    listed = source / "modules.json"
    if not listed.is_file():
        return source
    first = json.loads(listed.read_text(encoding="utf-8"))[0]
    if not str(first["type"]).endswith(".Transformer"):
        raise TypeError(f"its first module is {first['type']}; expected a Transformer, or a trained StaticEmbedding")
    return source / str(first["path"])


def _tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    found: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer = getattr(found, "backend_tokenizer", None)
    if not isinstance(tokenizer, Tokenizer):
        raise TypeError(f"its tokenizer, a {type(found).__name__}, is not a fast tokenizer; save one as tokenizer.json")
    # Without a vocabulary file transformers returns a tokenizer that has only special tokens.
    if not set(tokenizer.get_vocab()) - {str(token) for token in tokenizer.get_added_tokens_decoder().values()}:
        raise ValueError("its tokenizer has no vocabulary; the folder needs tokenizer.json or a vocabulary file")
    return tokenizer


def _weight(folder: Path) -> torch.Tensor:
    import torch
    from transformers import AutoModel

    model, loading = AutoModel.from_pretrained(
        folder, dtype="auto", use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    weight = getattr(model.get_input_embeddings(), "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise TypeError(f"a {type(model).__name__} has no matrix of input embeddings")
    name = next(name for name, parameter in model.named_parameters() if parameter is weight)
    if name in loading["missing_keys"]:
        raise ValueError(f"its weights do not contain {name}")
    weight = weight.detach().float()
    if not weight.isfinite().all():
        raise ValueError(f"{name} contains numbers that are not finite")
    return weight
