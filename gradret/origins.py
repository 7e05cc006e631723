"""What PAIRS calls the retrievers that found a document, and what such a name says."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from gradret.components import name_of

__all__ = ["origins", "retriever", "searching"]


def origins(retrievers: Iterable[object]) -> list[str]:
    """What PAIRS calls each retriever: the name of the one that searches, from the second of a name on with its number.

    ``bm25``, ``ranks`` of ``bm25`` and ``dense`` are ``bm25``, ``bm25.2`` and ``dense``.
    """
    called: list[str] = []
    names: list[str] = []
    for retriever in retrievers:
        name = _name(retriever)
        names.append(name)
        called.append(name if names.count(name) == 1 else f"{name}.{names.count(name)}")
    return called


def _name(retriever: object) -> str:
    inner = getattr(retriever, "retriever", None)
    return name_of(retriever) if inner is None else _name(inner)


@functools.cache
def retriever(origin: str) -> str:
    """The name of the retriever that PAIRS calls ``origin``: ``bm25`` of ``bm25.2``."""
    return re.sub(r"\.\d+$", "", origin)


_NO_SEARCH = {"source", "positives", "random", "generated"}


def searching(origin: str) -> bool:
    """Whether the rank that this origin gives a document is that of a search."""
    return retriever(origin) not in _NO_SEARCH
