"""Retrievers outside gradret: one searches, one only selects, two are invalid."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gradret.retrievers import Retriever


@dataclass(frozen=True)
class Choosing(Retriever):
    """Finds nothing, and leaves the Protocol's default."""

    def prepare(self, config: Any, ingested: Any, queries: Any) -> dict[str, Any]:
        return {}

    def load(self, prepared: dict[str, Any], seed: int) -> Any:
        return lambda queries: [[] for _ in queries]


@dataclass(frozen=True)
class Searching(Choosing):
    """Finds nothing either, but by searching."""

    searches: ClassVar[bool] = True


@dataclass(frozen=True)
class Lost(Choosing):
    """Means to ask for ``k``, and would get the Protocol's."""

    k: int


@dataclass(frozen=True)
class Silent:
    """Inherits nothing and declares nothing."""
