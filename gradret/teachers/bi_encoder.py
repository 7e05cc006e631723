"""The similarity of a bi-encoder's vectors."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gradret.config.fields import component
from gradret.errors import ConfigError
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
    """Cosine or inner product of the two vectors, in float64.

    Vectors of documents are read where the index keeps them, those of a shard's pairs only.
    """

    encoder: Any = component("encoders", None)
    """Whose vectors; null takes the student before training, ``train.encoder``."""
    similarity: Literal["cosine", "dot"] | None = None
    """null is the model's own."""

    reranks: ClassVar[bool] = True

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        model = base(config, ingested, self.encoder)
        self._of(model)
        return {
            "model": model,
            "doc_vectors": encode(config, model, ingested, "docs"),
            "index": index(config, model, ingested),
            "query_vectors": encode(config, model, queries, "queries"),
        }

    def load(self, prepared: dict[str, Artifact]) -> _Pairs:
        return _Pairs(prepared, self._of(prepared["model"]))

    def _of(self, model: Artifact) -> str:
        """``cosine`` or ``dot``."""
        if self.similarity is not None:
            return self.similarity
        path = model.path / "model" / "config_sentence_transformers.json"
        own = json.loads(path.read_text(encoding="utf-8")).get("similarity_fn_name") or "cosine"
        if own not in ("cosine", "dot"):
            raise ConfigError(
                f"teacher bi_encoder: the model's own similarity is {own}; set similarity to cosine or dot"
            )
        return str(own)


class _Pairs:
    def __init__(self, prepared: dict[str, Artifact], similarity: str) -> None:
        self.queries, self.similarity = prepared["query_vectors"], similarity
        self.documents = _Documents(prepared["doc_vectors"], prepared["index"])

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        asked = _read(self.queries, [query["query_id"] for query in queries])
        known = self.documents.read(set(chain.from_iterable(doc_ids)))
        nothing = np.full(self.documents.dimension, np.nan, np.float32)
        scores = []
        for query, listed in zip(queries, doc_ids, strict=True):
            rows = np.array([known.get(doc_id, nothing) for doc_id in listed]).reshape(-1, len(nothing))
            scores.append(self._compare(asked[query["query_id"]], rows))
        return scores

    def _compare(self, query: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """``(n,)`` float32 of ``(d,)`` and ``(n, d)``; einsum's sum of a row does not depend on the others."""
        import numpy as np

        query, documents = query.astype(np.float64), documents.astype(np.float64)
        scores = np.einsum("nd,d->n", documents, query)
        if self.similarity == "cosine":
            lengths = np.sqrt(np.einsum("nd,nd->n", documents, documents) * np.einsum("d,d->", query, query))
            scores = np.divide(scores, lengths, out=scores, where=lengths > 0)
        rounded: np.ndarray = scores.astype(np.float32)
        return rounded


def _read(queries: Artifact, query_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Vectors of the queries; memory holds one shard of VECTORS."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted, found = pa.array(query_ids, pa.string()), dict[str, "np.ndarray"]()
    for rows in queries.batches("vectors"):
        own = rows.filter(pc.is_in(rows["id"], value_set=wanted))
        if own.num_rows:
            found |= dict(zip(own["id"].to_pylist(), as_matrix(own), strict=True))
    return found


class _Documents:
    """Vectors of documents, memory-mapped in the shards of an INDEX, in the order of the VECTORS that it is made of."""

    def __init__(self, vectors: Artifact, index: Artifact) -> None:
        import numpy as np
        import pyarrow as pa

        parts = [read_shard(path, "vectors", ["id"])["id"] for path in vectors.shards("vectors")]
        self.ids = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
        shards = range(index.manifest["notes"]["shards"])
        self.matrices = [np.load(index.path / "shards" / f"{number:05d}.npy", mmap_mode="r") for number in shards]
        self.starts = np.cumsum([0, *(len(matrix) for matrix in self.matrices)])
        self.dimension = self.matrices[0].shape[1]

    def read(self, doc_ids: Collection[str]) -> dict[str, np.ndarray]:
        """Those of ``doc_ids`` that there are."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(sorted(doc_ids), pa.string())
        places = np.flatnonzero(pc.is_in(self.ids, value_set=wanted).to_numpy())
        numbers = np.searchsorted(self.starts, places, side="right") - 1
        within = places - self.starts[numbers]
        rows = [self.matrices[number][row] for number, row in zip(numbers, within, strict=True)]
        return dict(zip(self.ids.take(pa.array(places)).to_pylist(), rows, strict=True))
