"""Make a prompt fit its engine: documents are cut by tokens, instructions never."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gradret.engines import Prompt, TooLong

__all__ = ["Fitted", "Message", "Tokens", "fit"]

Message = dict[str, str]


class Fitted(NamedTuple):
    """A prompt as it is sent."""

    messages: list[Message]
    tokens_in: int
    cut: int
    """Texts that were cut."""


class Tokens(Protocol):
    """How an engine's model counts."""

    def count(self, messages: list[Message]) -> int:
        """Tokens of a chat, with all that its template adds."""

    def size(self, text: str) -> int:
        """Tokens of a text by itself."""

    def cut(self, text: str, size: int) -> str:
        """The beginning of ``text`` that has at most ``size`` tokens."""


def fit(prompt: Prompt, tokens: Tokens, limit: int) -> Fitted:
    """The prompt's messages in at most ``limit`` tokens, its texts cut to one common length if need be.

    Raises:
        TooLong: not even without its texts.
    """
    sizes = [tokens.size(text) for text in prompt.texts]
    longest = prompt.max_text_tokens
    while True:
        texts = [_cut(text, size, longest, tokens) for text, size in zip(prompt.texts, sizes, strict=True)]
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user(texts)}]
        count = tokens.count(messages)
        if count <= limit:
            return Fitted(messages, count, sum(size > longest for size in sizes))
        longest = _lowered(sizes, longest, count - limit)
        if longest < 1:
            raise TooLong(f"{count:,} tokens with no document left to cut; at most {limit:,} fit")


def _cut(text: str, size: int, longest: int, tokens: Tokens) -> str:
    return tokens.cut(text, longest) if size > longest else text


def _lowered(sizes: Sequence[int], longest: int, excess: int) -> int:
    """The greatest length at which the texts together have ``excess`` tokens less; 0 if there is none."""
    wanted = sum(min(size, longest) for size in sizes) - excess
    lowered = min(longest, max(sizes, default=0)) - 1
    while lowered > 0 and sum(min(size, lowered) for size in sizes) > wanted:
        lowered -= 1
    return lowered
