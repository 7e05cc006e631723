"""Several retrievers' rankings as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gradret.config.fields import at_least, component, require
from gradret.retrievers import Ranked, Retrieve, Retriever, ranked
from gradret.search.topk import ordered

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Rrf"]


@dataclass(frozen=True)
class Rrf(Retriever):
    """The ``k`` best documents by the sum over retrievers of ``1 / (constant + rank)``.

    A retriever that does not find a document adds nothing for it; equal sums go by doc_id, descending,
    as everywhere.

    Source: reciprocal rank fusion, Cormack, Clarke & Buettcher 2009. Formula and constant are as they
    are known in the field; not read again in the paper.
    """

    searches: ClassVar[bool] = True

    retrievers: Any = component("retrievers", many=True)
    """What they find, as deep as each is set to look, is fused."""
    k: int = 20
    """Candidates a query."""
    constant: int = 60
    """The higher, the less the first ranks stand out."""

    def __post_init__(self) -> None:
        require(k=at_least(1, self.k), constant=at_least(0, self.constant))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        prepared: dict[str, Artifact] = {}
        for number, retriever in enumerate(self.retrievers):
            more = retriever.prepare(config, ingested, queries)
            prepared |= {f"{number}.{name}": artifact for name, artifact in more.items()}
        return prepared

    def load(self, prepared: dict[str, Artifact], seed: int) -> _Fused:
        parts: list[dict[str, Artifact]] = [{} for _ in self.retrievers]
        for name, artifact in prepared.items():
            number, _, own = name.partition(".")
            parts[int(number)][own] = artifact
        find = [retriever.load(part, seed) for retriever, part in zip(self.retrievers, parts, strict=True)]
        return _Fused(find, self.k, self.constant)


class _Fused:
    def __init__(self, find: list[Retrieve], k: int, constant: int) -> None:
        self.find, self.k, self.constant = find, k, constant

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        return [self._fuse(lists) for lists in zip(*(find(queries) for find in self.find), strict=True)]

    def _fuse(self, lists: Sequence[Ranked]) -> Ranked:
        import numpy as np

        shares: dict[str, list[float]] = {}
        for found in lists:
            for doc_id, rank in found:
                shares.setdefault(doc_id, []).append(1 / (self.constant + rank))
        doc_ids = list(shares)
        # fsum: the same shares in another order are the same sum, and a tie.
        scores = np.array([math.fsum(shares[doc_id]) for doc_id in doc_ids])
        return ranked(doc_ids[place] for place in ordered(scores, doc_ids, self.k))
