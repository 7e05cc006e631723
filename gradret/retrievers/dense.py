"""Dense retrieval with an encoder through the sharded index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gradret.config.fields import at_least, component, require
from gradret.copies.verbatim import Originals
from gradret.retrievers import Retriever
from gradret.retrievers._run_lookup import RunLookup
from gradret.stages.base import base
from gradret.stages.dedupe import dedupe
from gradret.stages.index import index
from gradret.stages.search_index import search_index

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Dense"]


@dataclass(frozen=True)
class Dense(Retriever):
    """The top ``k`` documents of an encoder.

    Searches the FAISS shards of the stage ``index``; exact if ``index.factory`` is. The untrained
    student's index is the one that the report evaluates as ``base``, built once.
    """

    searches: ClassVar[bool] = True

    k: int = 20
    """Number of candidates per query."""
    encoder: Any = component("encoders", None)
    """The encoder; null uses ``train.encoder`` before training, the untrained student."""

    def __post_init__(self) -> None:
        require(k=at_least(1, self.k))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        model = base(config, ingested, self.encoder)
        built = index(config, model, ingested)
        deduped = dedupe(config, ingested)
        depth = Originals(deduped).depth(self.k)
        return {"run": search_index("retrieve", config, built, queries, model=model, k=depth), "deduped": deduped}

    def load(self, prepared: dict[str, Artifact], seed: int) -> RunLookup:
        return RunLookup(prepared, self.k)
