"""Read from a model's files how long its context is and which tokens end an answer."""

from __future__ import annotations

from typing import Any

from gradret.errors import ConfigError

__all__ = ["context_length", "eos_ids"]


def context_length(config: Any) -> int:
    """The longest prompt and answer, in tokens.

    Raises:
        ConfigError: the model's config does not say.
    """
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(length, int):
        raise ConfigError("engine vllm: the model does not tell its context; set engine_kwargs.max_model_len")
    return length


def eos_ids(source: str, tokenizer: Any) -> list[int]:
    """Tokens that end an answer."""
    from transformers import GenerationConfig

    try:
        told = GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:  # not every model has one
        told = None
    ids = told if isinstance(told, list) else [told]
    return sorted({int(one) for one in [*ids, tokenizer.eos_token_id] if one is not None})
