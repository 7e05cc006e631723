"""Score a pair by the similarity of a bi-encoder's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gradret.config.fields import component
from gradret.models.similarity import similarity
from gradret.search.vectors import MappedVectors, find_vectors
from gradret.stages.base import base
from gradret.stages.encode import encode
from gradret.stages.index import index
from gradret.teachers import Teacher

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["BiEncoder"]


@dataclass(frozen=True)
class BiEncoder(Teacher):
    """Cosine or inner product of the two vectors, computed in float64.

    Only the document vectors of a shard's pairs are read, from the memory-mapped index.
    """

    encoder: Any = component("encoders", None)
    """The encoder; null uses ``train.encoder`` before training, the untrained student."""
    similarity: Literal["cosine", "dot"] | None = None
    """null uses the model's own similarity."""

    reranks: ClassVar[bool] = True

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        model = base(config, ingested, self.encoder)
        self._resolve_similarity(model)
        return {
            "model": model,
            "index": index(config, model, ingested),
            "query_vectors": encode(config, model, queries, "queries"),
        }

    def load(self, prepared: dict[str, Artifact]) -> _BiEncoderGrader:
        return _BiEncoderGrader(prepared, self._resolve_similarity(prepared["model"]))

    def _resolve_similarity(self, model: Artifact) -> str:
        """Return ``cosine`` or ``dot``."""
        if self.similarity is not None:
            return self.similarity
        return similarity(model.file("model"))


class _BiEncoderGrader:
    def __init__(self, prepared: dict[str, Artifact], similarity: str) -> None:
        self.queries, self.similarity = prepared["query_vectors"], similarity
        self.documents = MappedVectors(prepared["index"])

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        vectors = find_vectors(self.queries, [query["query_id"] for query in queries])
        places = self.documents.places(set(chain.from_iterable(doc_ids)))
        scores = []
        for query, ids in zip(queries, doc_ids, strict=True):
            row = np.full(len(ids), np.nan, np.float32)
            known = [column for column, doc_id in enumerate(ids) if doc_id in places]
            documents = self.documents.take(np.array([places[ids[column]] for column in known], np.int64))
            row[known] = self._compare(vectors[query["query_id"]], documents)
            scores.append(row)
        return scores

    def _compare(self, query: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """Return scores ``(n,)`` float32 of vectors ``(d,)`` and ``(n, d)``.

        einsum sums each row independently of the others, so scores do not depend on the batch.
        """
        import numpy as np

        query, documents = query.astype(np.float64), documents.astype(np.float64)
        scores = np.einsum("nd,d->n", documents, query)
        if self.similarity == "cosine":
            lengths = np.sqrt(np.einsum("nd,nd->n", documents, documents) * np.einsum("d,d->", query, query))
            scores = np.divide(scores, lengths, out=scores, where=lengths > 0)
        rounded: np.ndarray = scores.astype(np.float32)
        return rounded
