"""A range of another retriever's ranks, or some of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.config.fields import at_least, component, require
from gradret.draw import generator
from gradret.retrievers import Ranked, Retrieve, Retriever

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Ranks"]


@dataclass(frozen=True)
class Ranks(Retriever):
    """Documents that another retriever has at ranks ``first`` to ``last``, or ``sample`` of them, drawn at random.

    PAIRS names that retriever and gives its ranks. SyCL (2503.23239) takes 2 random ones of BM25's
    first 1000, without those that are judged relevant (verified in its data's card): ``retriever:
    {name: bm25, k: 1000}``, ``last: 1000``, ``sample: 2``.
    """

    retriever: Any = component("retrievers")
    """Whose ranks; its ``k`` must be ``last`` or more."""
    first: int = 1
    last: int = 100
    sample: int = 0
    """How many, drawn by a hash of seed and query_id; 0 takes all."""

    def __post_init__(self) -> None:
        require(first=at_least(1, self.first))
        if self.last < self.first:
            raise ValueError(f"last must be first={self.first} or more, got {self.last}")
        # A field k is how deep a retriever looks; of one that samples, k is a property, and says nothing of it.
        deep = vars(self.retriever).get("k", self.last) if self.retriever else self.last
        if self.last > deep:
            raise ValueError(
                f"last={self.last} is more than {name_of(self.retriever)} finds; set retriever.k={self.last}"
            )
        if not 0 <= self.sample <= self.last - self.first + 1:
            raise ValueError(
                f"sample must be 0 to {self.last - self.first + 1}, as many as there are ranks, got {self.sample}"
            )

    @property
    def k(self) -> int:
        return self.sample or self.last - self.first + 1

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        prepared: dict[str, Artifact] = self.retriever.prepare(config, ingested, queries)
        return prepared

    def load(self, prepared: dict[str, Artifact], seed: int) -> _Range:
        return _Range(self.retriever.load(prepared, seed), self, seed)


class _Range:
    def __init__(self, find: Retrieve, settings: Ranks, seed: int) -> None:
        self.find, self.settings, self.seed = find, settings, seed

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        return [
            self._choose(query["query_id"], found) for query, found in zip(queries, self.find(queries), strict=True)
        ]

    def _choose(self, query_id: str, found: Ranked) -> Ranked:
        within = [(doc_id, rank) for doc_id, rank in found if self.settings.first <= rank <= self.settings.last]
        if not self.settings.sample:
            return within
        size = min(self.settings.sample, len(within))
        picks = generator(self.seed, query_id).choice(len(within), size, replace=False)
        return [within[pick] for pick in sorted(picks)]
