"""Documents drawn at random: the easy end of a training list."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradret.artifacts import Artifact
    from gradret.config import Config
    from gradret.retrievers import Retrieve

__all__ = ["Random"]


@dataclass(frozen=True)
class Random:
    """``k`` documents drawn by a hash of seed and query_id, so that the draw does not depend on the sharding."""

    k: int = 4
    """Documents a query."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"docs": ingested}

    def load(self, prepared: dict[str, Artifact], seed: int) -> Retrieve:
        return _Draw(prepared["docs"].table("docs", ["doc_id"])["doc_id"].to_pylist(), self.k, seed)


class _Draw:
    def __init__(self, doc_ids: list[str], k: int, seed: int) -> None:
        self.doc_ids, self.k, self.seed = doc_ids, min(k, len(doc_ids)), seed

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[list[str]]:
        import numpy as np

        drawn = []
        for query in queries:
            seed = hashlib.sha256(f"{self.seed}:{query['query_id']}".encode()).digest()[:8]
            generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
            picks = generator.choice(len(self.doc_ids), self.k, replace=False)
            drawn.append([self.doc_ids[pick] for pick in picks])
        return drawn
