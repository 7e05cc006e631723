"""Documents drawn at random: the easy end of a training list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.config.fields import at_least, require
from gradret.draw import generator
from gradret.retrievers import Ranked, Retriever, ranked

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Random"]


@dataclass(frozen=True)
class Random(Retriever):
    """``k`` documents drawn by a hash of seed and query_id, so that the draw does not depend on the sharding."""

    k: int = 4
    """Documents a query."""

    def __post_init__(self) -> None:
        require(k=at_least(0, self.k))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"docs": ingested}

    def load(self, prepared: dict[str, Artifact], seed: int) -> _Draw:
        return _Draw(prepared["docs"].table("docs", ["doc_id"])["doc_id"].combine_chunks(), self.k, seed)


class _Draw:
    def __init__(self, doc_ids: pa.Array, k: int, seed: int) -> None:
        self.doc_ids, self.k, self.seed = doc_ids, min(k, len(doc_ids)), seed

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        return [self._one(query["query_id"]) for query in queries]

    def _one(self, query_id: str) -> Ranked:
        picks = generator(self.seed, query_id).choice(len(self.doc_ids), self.k, replace=False)
        return ranked(self.doc_ids.take(picks).to_pylist())
