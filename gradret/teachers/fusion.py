"""The default teacher for the embedded dataset: the sum of standardised dense and BM25 scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from gradret.config.fields import component
from gradret.search.bm25 import Bm25Index, build_bm25, tokenize
from gradret.search.lexical import LexicalMoments, scores_at
from gradret.search.moments import Moments, moments
from gradret.search.topk import ordered
from gradret.search.vectors import MappedVectors, find_vectors
from gradret.stages.base import base
from gradret.stages.encode import encode
from gradret.stages.index import index
from gradret.teachers import Teacher

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Fusion"]

# Queries and documents whose scores are in memory at a time in a search.
_QUERIES, _DOCUMENTS = 64, 1 << 16


@dataclass(frozen=True)
class Fusion(Teacher):
    """``w * z(cosine) + (1 - w) * z(BM25)``; z standardises over the whole corpus, for each query.

    Needs no GPU and no access to the Hub. It ranks better than either of its parts on scifact, cranfield
    and vaswani, but not better than MiniLM on pydocs (benchmarks/results/quality_*).

    Source: standardising scores before adding them is Renda & Straccia (2003); the rest is gradret's.
    """

    encoder: Any = component("encoders", {"name": "pretrained"})
    dense_weight: float = 0.6
    """The weight ``w`` of the dense scores."""
    k1: float = 1.2
    b: float = 0.75

    searches: ClassVar[bool] = True
    reranks: ClassVar[bool] = True

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        model = base(config, ingested, self.encoder)
        exact = replace(config, index=replace(config.index, factory="Flat"))
        return {
            "bm25": build_bm25(config, ingested, self.k1, self.b),
            "index": index(exact, model, ingested),
            "moments": moments(config, encode(config, model, ingested, "docs")),
            "query_vectors": encode(config, model, queries, "queries"),
        }

    def load(self, prepared: dict[str, Artifact]) -> _FusionGrader:
        return _FusionGrader(prepared, self.dense_weight)


class _Query(NamedTuple):
    """A query: its vector and terms, and mean and standard deviation of its scores over the corpus."""

    vector: np.ndarray
    terms: list[str]
    dense: tuple[float, float]
    lexical: tuple[float, float]


class _FusionGrader:
    """Index and BM25 are memory-mapped; their documents have the same order."""

    def __init__(self, prepared: dict[str, Artifact], dense_weight: float) -> None:
        self.bm25, self.docs = Bm25Index(prepared["bm25"]), MappedVectors(prepared["index"])
        self.moments, self.vectors = Moments(prepared["moments"]), prepared["query_vectors"]
        self.lexical, self.weight = LexicalMoments(self.bm25), dense_weight

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        places = self.docs.places(set(chain.from_iterable(doc_ids)))
        scores = []
        for query, ids in zip(self._queries(queries), doc_ids, strict=True):
            # A document that an LLM wrote is not in the corpus: its score is NaN.
            row = np.full(len(ids), np.nan, np.float32)
            known = [column for column, doc_id in enumerate(ids) if doc_id in places]
            rows = np.array([places[ids[column]] for column in known], np.int64)
            row[known] = self._exact(query, rows)
            scores.append(row)
        return scores

    def search(self, queries: Sequence[dict[str, Any]], k: int) -> list[list[tuple[str, float]]]:
        # Not block by block: finding vectors reads all shards of them.
        results, wanted = [], list(self._queries(queries))
        for start in range(0, len(queries), _QUERIES):
            block = wanted[start : start + _QUERIES]
            for query, places in zip(block, self._contenders(block, k), strict=True):
                scores = self._exact(query, places)
                doc_ids = self.docs.ids.take(places).to_pylist()
                best = ordered(scores, doc_ids, k)
                results.append([(doc_ids[place], float(scores[place])) for place in best])
        return results

    def _queries(self, queries: Sequence[dict[str, Any]]) -> Iterator[_Query]:
        vectors = find_vectors(self.vectors, [query["query_id"] for query in queries])
        for query, terms in zip(queries, tokenize([row["text"] for row in queries], self.bm25.language), strict=True):
            vector = vectors[query["query_id"]]
            yield _Query(vector, terms, self.moments.of(vector), self.lexical.of(terms))

    def _exact(self, query: _Query, places: np.ndarray) -> np.ndarray:
        """Return the scores of the documents at ``places``, float32.

        einsum sums each row independently of the others, so scores do not depend on the batch.
        """
        import numpy as np

        dense = np.einsum("nd,d->n", self.docs.take(places).astype(np.float64), query.vector.astype(np.float64))
        return self._fused(query, dense, scores_at(self.bm25, query.terms, places)).astype(np.float32)

    def _fused(self, query: _Query, dense: np.ndarray, lexical: np.ndarray) -> np.ndarray:
        """Return the weighted sum of the standardised parts, float64."""
        return self.weight * _standardize(dense, *query.dense) + (1 - self.weight) * _standardize(
            lexical, *query.lexical
        )

    def _contenders(self, queries: list[_Query], k: int) -> list[np.ndarray]:
        """Return for each query the documents that may be among its ``k`` best, one block of them at a time."""
        import numpy as np

        pools = [_Pool(k, self._slack(query)) for query in queries]
        vectors = np.array([query.vector for query in queries])
        for start, matrix in self.docs.blocks(_DOCUMENTS):
            dense_QN = vectors @ matrix.T
            for query, pool, dense in zip(queries, pools, dense_QN, strict=True):
                lexical = self.bm25.scores(query.terms, start, start + len(matrix))
                pool.add(start, self._fused(query, dense, lexical))
        return [pool.places for pool in pools]

    def _slack(self, query: _Query) -> float:
        """Bound the rounding error of the difference of two fused scores whose dense part is a float32 product."""
        import numpy as np

        rounding = 2.0**-23 * (len(query.vector) + 2) * float(np.linalg.norm(query.vector)) * self.docs.longest
        return abs(self.weight) * rounding / query.dense[1] if query.dense[1] else 0.0


class _Pool:
    """The places of a query's ``k`` best scores so far, and of those that are worse by less than ``slack``."""

    def __init__(self, k: int, slack: float) -> None:
        import numpy as np

        self.k, self.slack, self.floor = k, slack, -np.inf
        self.places, self.scores = np.zeros(0, np.int64), np.zeros(0)

    def add(self, start: int, scores: np.ndarray) -> None:
        """Add the scores of the places from ``start``."""
        import numpy as np

        (better,) = (scores >= self.floor).nonzero()
        places, scores = np.append(self.places, start + better), np.append(self.scores, scores[better])
        if len(scores) > self.k:
            self.floor = float(np.partition(scores, -self.k)[-self.k]) - self.slack
        kept = scores >= self.floor
        self.places, self.scores = places[kept], scores[kept]


def _standardize(scores: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Return the scores with mean 0 and standard deviation 1, float64; 0 if they do not differ."""
    import numpy as np

    if not deviation:
        return np.zeros(len(scores))
    return (scores.astype(np.float64) - mean) / deviation
