"""How a document's title and text are read as one: by BM25, by encoders, by everyone alike."""

from __future__ import annotations

__all__ = ["passage"]


def passage(title: str | None, text: str) -> str:
    """Title and text with one space between; the text alone where there is no title."""
    return f"{title} {text}".strip() if title else text
