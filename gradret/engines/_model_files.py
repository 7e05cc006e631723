"""Read a model's context length and end-of-sequence tokens from its files."""

from __future__ import annotations

from typing import Any

from gradret.errors import ConfigError

__all__ = ["context_length", "eos_ids"]


def context_length(config: Any) -> int:
    """Return the model's context length in tokens, prompt and answer together.

    Raises:
        ConfigError: the model's config does not state it.
    """
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(length, int):
        raise ConfigError(
            "engine vllm: the model's config has no max_position_embeddings; set engine_kwargs.max_model_len"
        )
    return length


def eos_ids(source: str, tokenizer: Any) -> list[int]:
    """Return the ids of the tokens that end an answer."""
    from transformers import GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:  # not every model has a generation config
        configured = None
    ids = configured if isinstance(configured, list) else [configured]
    return sorted({int(token) for token in [*ids, tokenizer.eos_token_id] if token is not None})
