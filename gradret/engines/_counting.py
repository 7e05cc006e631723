"""Count a prompt's tokens for an endpoint: with the model's tokenizer, or by bytes."""

from __future__ import annotations

import functools
import math
from typing import Any

from gradret.engines._fit import Message
from gradret.errors import ConfigError
from gradret.models.chat import ChatTemplate

__all__ = ["Bytes", "Tokenizer"]

_BYTES_A_TOKEN = 3
_MESSAGE_TOKENS = 16


class Bytes:
    """Estimate token counts from bytes when no tokenizer is set; see ``OpenAI.tokenizer``."""

    def count(self, messages: list[Message]) -> int:
        return sum(self.size(message["content"]) + _MESSAGE_TOKENS for message in messages)

    def size(self, text: str) -> int:
        return math.ceil(len(text.encode()) / _BYTES_A_TOKEN)

    def cut(self, text: str, size: int) -> str:
        return text.encode()[: size * _BYTES_A_TOKEN].decode(errors="ignore")


class Tokenizer:
    """Count with the model's tokenizer, and its chat template if it has one."""

    def __init__(self, name: str) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise ConfigError(f"engine openai: cannot load tokenizer {name!r}: {error}") from error
        self.chat = ChatTemplate(self.tokenizer) if self.tokenizer.chat_template else None
        if self.chat:
            self.chat.require_user(f"engine openai: tokenizer {name!r}", "use that of an instruct model, or null")

    def count(self, messages: list[Message]) -> int:
        if not self.chat:
            return sum(self.size(message["content"]) + _MESSAGE_TOKENS for message in messages)
        return self.size(self.chat.text(messages))

    @functools.lru_cache(maxsize=64)  # noqa: B019 - lives as long as the worker
    def size(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def cut(self, text: str, size: int) -> str:
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(offsets) <= size:
            return text
        # A character may span several tokens with the same offsets; never keep only part of them.
        return text[: min(offsets[size][0], offsets[size - 1][1])] if size else ""
