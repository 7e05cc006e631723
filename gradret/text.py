"""How a document's title and text are read as one, and a text as words: by everyone alike."""

from __future__ import annotations

import re

__all__ = ["passage", "words"]


def passage(title: str | None, text: str) -> str:
    """Title and text with one space between; the text alone where there is no title."""
    return f"{title} {text}".strip() if title else text


_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Without case and punctuation."""
    return _WORD.findall(text.casefold())
