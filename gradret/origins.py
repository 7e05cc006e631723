"""Name the retrievers that found a document, as PAIRS does, and tell which of them search."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

from gradret.components import name_of

__all__ = ["origins", "retriever", "searching"]


def origins(retrievers: Iterable[Any]) -> list[str]:
    """Return the name of each retriever in PAIRS: that of the retriever that searches, numbered from its second use.

    For ``bm25``, ``ranks`` of ``bm25`` and ``dense``, these are ``bm25``, ``bm25.2`` and ``dense``.
    """
    unique: list[str] = []
    names: list[str] = []
    for retriever in retrievers:
        name = name_of(retriever.ranks_of)
        names.append(name)
        unique.append(name if names.count(name) == 1 else f"{name}.{names.count(name)}")
    return unique


@functools.cache
def retriever(origin: str) -> str:
    """Return the name of the retriever of ``origin`` in PAIRS: ``bm25`` for ``bm25.2``."""
    return re.sub(r"\.\d+$", "", origin)


def searching(retrievers: Iterable[Any]) -> frozenset[str]:
    """Return the origins whose ranks come from a search, as the retrievers declare."""
    retrievers = list(retrievers)
    named = zip(origins(retrievers), retrievers, strict=True)
    return frozenset(origin for origin, each in named if each.ranks_of.searches)
