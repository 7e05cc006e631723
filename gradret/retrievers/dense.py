"""What a model ranks high, through the sharded index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gradret.config.fields import at_least, component, require
from gradret.retrievers import Retriever
from gradret.search.runs import RunReader
from gradret.stages.base import base
from gradret.stages.index import index
from gradret.stages.search_index import search_index

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.retrievers import Ranked
    from gradret.store.artifacts import Artifact

__all__ = ["Dense"]


@dataclass(frozen=True)
class Dense(Retriever):
    """The ``k`` documents that an encoder ranks first.

    Through the FAISS shards of ``index``: exact where ``index.factory`` is. Of the student before
    training they are those that the report's system ``base`` is searched with, built once.
    """

    searches: ClassVar[bool] = True

    k: int = 20
    """Candidates a query."""
    encoder: Any = component("encoders", None)
    """Whose vectors; null takes the student before training, ``train.encoder``."""

    def __post_init__(self) -> None:
        require(k=at_least(1, self.k))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        model = base(config, ingested, self.encoder)
        built = index(config, model, ingested)
        return {"run": search_index("retrieve", config, built, queries, model=model, k=self.k)}

    def load(self, prepared: dict[str, Artifact], seed: int) -> _Run:
        return _Run(RunReader(prepared["run"]))


class _Run:
    def __init__(self, run: RunReader) -> None:
        self.run = run

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        return self.run.ranked([query["query_id"] for query in queries])
