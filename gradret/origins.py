"""What PAIRS calls the retrievers that found a document, and which of these search."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

from gradret.components import name_of

__all__ = ["origins", "retriever", "searching"]


def origins(retrievers: Iterable[Any]) -> list[str]:
    """What PAIRS calls each retriever: the name of the one that searches, from the second of a name on with its number.

    ``bm25``, ``ranks`` of ``bm25`` and ``dense`` are ``bm25``, ``bm25.2`` and ``dense``.
    """
    called: list[str] = []
    names: list[str] = []
    for retriever in retrievers:
        name = name_of(retriever.ranks_of)
        names.append(name)
        called.append(name if names.count(name) == 1 else f"{name}.{names.count(name)}")
    return called


@functools.cache
def retriever(origin: str) -> str:
    """The name of the retriever that PAIRS calls ``origin``: ``bm25`` of ``bm25.2``."""
    return re.sub(r"\.\d+$", "", origin)


def searching(retrievers: Iterable[Any]) -> frozenset[str]:
    """The origins whose ranks are those of a search, by what the retrievers declare."""
    retrievers = list(retrievers)
    named = zip(origins(retrievers), retrievers, strict=True)
    return frozenset(origin for origin, one in named if one.ranks_of.searches)
