"""Reciprocal rank fusion of several retrievers."""

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

    A retriever that does not return a document adds nothing to its sum. Ties are ordered by doc_id,
    descending, as everywhere in gradret.

    Source: reciprocal rank fusion, Cormack, Clarke & Buettcher 2009. Formula and constant are the commonly
    cited ones; we did not check them against the paper.
    """

    searches: ClassVar[bool] = True

    retrievers: Any = component("retrievers", many=True)
    """The retrievers whose rankings are fused, each to its own depth."""
    k: int = 20
    """Number of candidates per query."""
    constant: int = 60
    """A higher value gives the first ranks less weight."""

    def __post_init__(self) -> None:
        require(k=at_least(1, self.k), constant=at_least(0, self.constant))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        prepared: dict[str, Artifact] = {}
        for number, retriever in enumerate(self.retrievers):
            more = retriever.prepare(config, ingested, queries)
            prepared |= {f"{number}.{name}": artifact for name, artifact in more.items()}
        return prepared

    def load(self, prepared: dict[str, Artifact], seed: int) -> _FusedRetrieve:
        parts: list[dict[str, Artifact]] = [{} for _ in self.retrievers]
        for name, artifact in prepared.items():
            number, _, inner = name.partition(".")
            parts[int(number)][inner] = artifact
        functions = [retriever.load(part, seed) for retriever, part in zip(self.retrievers, parts, strict=True)]
        return _FusedRetrieve(functions, self.k, self.constant)


class _FusedRetrieve:
    def __init__(self, functions: list[Retrieve], k: int, constant: int) -> None:
        self.functions, self.k, self.constant = functions, k, constant

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        return [self._fuse(lists) for lists in zip(*(retrieve(queries) for retrieve in self.functions), strict=True)]

    def _fuse(self, lists: Sequence[Ranked]) -> Ranked:
        import numpy as np

        shares: dict[str, list[float]] = {}
        for results in lists:
            for doc_id, rank in results:
                shares.setdefault(doc_id, []).append(1 / (self.constant + rank))
        doc_ids = list(shares)
        # fsum does not depend on the order of the terms, so equal shares are a tie.
        scores = np.array([math.fsum(shares[doc_id]) for doc_id in doc_ids])
        return ranked(doc_ids[place] for place in ordered(scores, doc_ids, self.k))
