"""Random documents: the easy negatives of a training list."""

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
    """``k`` documents sampled with a seed hashed from seed and query_id, so that shards do not matter."""

    k: int = 4
    """Number of documents per query."""

    def __post_init__(self) -> None:
        require(k=at_least(0, self.k))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"docs": ingested}

    def load(self, prepared: dict[str, Artifact], seed: int) -> _Sampler:
        return _Sampler(prepared["docs"].table("docs", ["doc_id"])["doc_id"].combine_chunks(), self.k, seed)


class _Sampler:
    def __init__(self, doc_ids: pa.Array, k: int, seed: int) -> None:
        self.doc_ids, self.k, self.seed = doc_ids, min(k, len(doc_ids)), seed

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        return [self._sample(query["query_id"]) for query in queries]

    def _sample(self, query_id: str) -> Ranked:
        picks = generator(self.seed, query_id).choice(len(self.doc_ids), self.k, replace=False)
        return ranked(self.doc_ids.take(picks).to_pylist())
