"""Fit a prompt into the engine's context: truncate its documents by tokens, never its instructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gradret.engines import Prompt, TooLong

__all__ = ["Fitted", "Message", "Tokens", "fit"]

Message = dict[str, str]


class Fitted(NamedTuple):
    """A prompt as sent to the engine."""

    messages: list[Message]
    tokens_in: int
    cut: int
    """Number of texts that were truncated."""


class Tokens(Protocol):
    """Counts and truncates text in the tokens of the engine's model."""

    def count(self, messages: list[Message]) -> int:
        """Return the number of tokens of a chat, with those that the chat template adds."""

    def size(self, text: str) -> int:
        """Return the number of tokens of a text by itself."""

    def cut(self, text: str, size: int) -> str:
        """Return the max_tokens prefix of ``text`` with at most ``size`` tokens."""


def fit(prompt: Prompt, tokens: Tokens, limit: int) -> Fitted:
    """Build the prompt's messages within ``limit`` tokens, truncating its texts to a common length if needed.

    Raises:
        TooLong: the prompt does not fit even without its texts.
    """
    sizes = [tokens.size(text) for text in prompt.texts]
    max_tokens = prompt.max_text_tokens
    while True:
        texts = [_truncated(text, size, max_tokens, tokens) for text, size in zip(prompt.texts, sizes, strict=True)]
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user(texts)}]
        count = tokens.count(messages)
        if count <= limit:
            return Fitted(messages, count, sum(size > max_tokens for size in sizes))
        max_tokens = _reduced_length(sizes, max_tokens, count - limit)
        if max_tokens < 1:
            raise TooLong(f"{count:,} tokens even without documents; at most {limit:,} fit")


def _truncated(text: str, size: int, max_tokens: int, tokens: Tokens) -> str:
    return tokens.cut(text, max_tokens) if size > max_tokens else text


def _reduced_length(sizes: Sequence[int], max_tokens: int, excess: int) -> int:
    """Return the greatest length that saves ``excess`` tokens over all texts; 0 if there is none."""
    target = sum(min(size, max_tokens) for size in sizes) - excess
    length = min(max_tokens, max(sizes, default=0)) - 1
    while length > 0 and sum(min(size, length) for size in sizes) > target:
        length -= 1
    return length
