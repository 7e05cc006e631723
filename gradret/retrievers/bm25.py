"""BM25: documents that share words with the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gradret.config.fields import at_least, require
from gradret.copies.verbatim import Originals
from gradret.retrievers import Ranked, Retriever, ranked
from gradret.search.bm25 import Bm25Index, build_bm25
from gradret.stages.dedupe import dedupe

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Bm25"]


@dataclass(frozen=True)
class Bm25(Retriever):
    """The top ``k`` documents by BM25, among those that share a word with the query.

    Lucene's variant (idf is never negative) over title and text, with the Snowball stemmer and stop words
    of ``dataset.language``. One index covers the whole corpus; workers memory-map it.
    ``benchmarks/mining.py`` measures the cost of building it.

    Source: Robertson & Zaragoza 2009; implementation: bm25s (Lu 2024).
    """

    searches: ClassVar[bool] = True

    k: int = 20
    """Number of candidates per query."""
    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        require(k=at_least(1, self.k))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        return {"bm25": build_bm25(config, ingested, self.k1, self.b), "deduped": dedupe(config, ingested)}

    def load(self, prepared: dict[str, Artifact], seed: int) -> _Bm25Search:
        return _Bm25Search(Bm25Index(prepared["bm25"]), Originals(prepared.get("deduped")), self.k)


class _Bm25Search:
    def __init__(self, index: Bm25Index, originals: Originals, k: int) -> None:
        self.index, self.originals, self.k = index, originals, k

    def __call__(self, queries: Sequence[dict[str, Any]]) -> list[Ranked]:
        found = self.index.search([query["text"] for query in queries], self.originals.depth(self.k))
        return [ranked(self.originals.first(doc_ids, self.k)) for doc_ids, _ in found]
