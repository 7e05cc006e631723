"""Score a pair by the similarity of a bi-encoder's vectors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gradret.config.fields import component
from gradret.models.similarity import similarity
from gradret.search.vectors import as_matrix
from gradret.stages.base import base
from gradret.stages.encode import encode
from gradret.stages.index import index
from gradret.store.artifacts import read_shard
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
            "doc_vectors": encode(config, model, ingested, "docs"),
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
        self.documents = _Documents(prepared["doc_vectors"], prepared["index"])

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        vectors = _read(self.queries, [query["query_id"] for query in queries])
        documents = self.documents.read(set(chain.from_iterable(doc_ids)))
        missing = np.full(self.documents.dimension, np.nan, np.float32)
        scores = []
        for query, listed in zip(queries, doc_ids, strict=True):
            rows = np.array([documents.get(doc_id, missing) for doc_id in listed]).reshape(-1, len(missing))
            scores.append(self._compare(vectors[query["query_id"]], rows))
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


def _read(queries: Artifact, query_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the queries' vectors, reading one shard of VECTORS at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted, vectors = pa.array(query_ids, pa.string()), dict[str, "np.ndarray"]()
    for shard in queries.batches("vectors"):
        rows = shard.filter(pc.is_in(shard["id"], value_set=wanted))
        if rows.num_rows:
            vectors |= dict(zip(rows["id"].to_pylist(), as_matrix(rows), strict=True))
    return vectors


class _Documents:
    """Document vectors, memory-mapped from the shards of an INDEX, in the order of its VECTORS."""

    def __init__(self, vectors: Artifact, index: Artifact) -> None:
        import numpy as np
        import pyarrow as pa

        parts = [read_shard(path, "vectors", ["id"])["id"] for path in vectors.shards("vectors")]
        self.ids = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
        shards = range(index.manifest["notes"]["shards"])
        self.matrices = [np.load(index.file(f"shards/{number:05d}.npy"), mmap_mode="r") for number in shards]
        self.starts = np.cumsum([0, *(len(matrix) for matrix in self.matrices)])
        self.dimension = self.matrices[0].shape[1]

    def read(self, doc_ids: Collection[str]) -> dict[str, np.ndarray]:
        """Return the vectors of ``doc_ids``, without those that are not in the corpus."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(sorted(doc_ids), pa.string())
        positions = np.flatnonzero(pc.is_in(self.ids, value_set=wanted).to_numpy())
        numbers = np.searchsorted(self.starts, positions, side="right") - 1
        within = positions - self.starts[numbers]
        rows = [self.matrices[number][row] for number, row in zip(numbers, within, strict=True)]
        return dict(zip(self.ids.take(pa.array(positions)).to_pylist(), rows, strict=True))
