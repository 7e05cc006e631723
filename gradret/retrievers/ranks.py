"""A range of another retriever's ranks, or a random sample of the range."""

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
    """Documents at ranks ``first`` to ``last`` of another retriever, or a random ``sample`` of them.

    PAIRS has the other retriever's name and ranks. SyCL (2503.23239) samples 2 of BM25's top 1000 that are
    not judged relevant (verified on its data card): ``retriever: {name: bm25, k: 1000}``, ``last: 1000``,
    ``sample: 2``.
    """

    retriever: Any = component("retrievers")
    """The other retriever; it must retrieve at least ``last`` documents."""
    first: int = 1
    last: int = 100
    sample: int = 0
    """Number of documents to sample, seeded by a hash of seed and query_id; 0 takes all."""

    def __post_init__(self) -> None:
        require(first=at_least(1, self.first))
        if self.last < self.first:
            raise ValueError(f"last must be at least first={self.first}, got {self.last}")
        depth = self.retriever.last_rank if self.retriever else None
        if depth is not None and self.last > depth:
            raise ValueError(
                f"last must be at most {depth}, the number of documents that {name_of(self.retriever)} retrieves, "
                f"got {self.last}"
            )
        if not 0 <= self.sample <= self.last - self.first + 1:
            raise ValueError(
                f"sample must be from 0 to {self.last - self.first + 1}, the number of ranks, got {self.sample}"
            )

    @property
    def k(self) -> int:
        return self.sample or self.last - self.first + 1

    @property
    def last_rank(self) -> int:
        return self.last

    @property
    def ranks_of(self) -> Retriever:
        inner: Retriever = self.retriever.ranks_of
        return inner

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        prepared: dict[str, Artifact] = self.retriever.prepare(config, ingested, queries)
        return prepared

    def load(self, prepared: dict[str, Artifact], seed: int) -> _RankRange:
        return _RankRange(self.retriever.load(prepared, seed), self, seed)


class _RankRange:
    def __init__(self, retrieve: Retrieve, settings: Ranks, seed: int) -> None:
        self.retrieve, self.settings, self.seed = retrieve, settings, seed

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        return [
            self._choose(query["query_id"], results)
            for query, results in zip(queries, self.retrieve(queries), strict=True)
        ]

    def _choose(self, query_id: str, results: Ranked) -> Ranked:
        within = [(doc_id, rank) for doc_id, rank in results if self.settings.first <= rank <= self.settings.last]
        if not self.settings.sample:
            return within
        size = min(self.settings.sample, len(within))
        picks = generator(self.seed, query_id).choice(len(within), size, replace=False)
        return [within[pick] for pick in sorted(picks)]
