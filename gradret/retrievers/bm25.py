"""BM25: what shares words with the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gradret.config.fields import at_least, require
from gradret.retrievers import Ranked, Retriever, ranked
from gradret.search.bm25 import Bm25Index, build_bm25

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Bm25"]


@dataclass(frozen=True)
class Bm25(Retriever):
    """The ``k`` documents that BM25 ranks first, of those that share a word with the query.

    Lucene's variant (idf never negative), Snowball stemmer and stop words of ``dataset.language``,
    over title and text. One index with the statistics of the whole corpus, which workers map into
    memory; what building it takes, ``benchmarks/mining.py`` measures.

    Source: Robertson & Zaragoza 2009; implementation: bm25s (Lu 2024).
    """

    searches: ClassVar[bool] = True

    k: int = 20
    """Candidates a query."""
    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        require(k=at_least(1, self.k))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"bm25": build_bm25(config, ingested, self.k1, self.b)}

    def load(self, prepared: dict[str, Artifact], seed: int) -> _Top:
        return _Top(Bm25Index(prepared["bm25"]), self.k)


class _Top:
    def __init__(self, index: Bm25Index, k: int) -> None:
        self.index, self.k = index, k

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        return [ranked(doc_ids) for doc_ids, _ in self.index.search([query["text"] for query in queries], self.k)]
