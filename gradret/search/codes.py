"""Documents' vectors in fewer bits, and their search with queries in float32.

int8      each dimension's range in a sample of the documents is cut into 256 equal steps; a code stands for the middle
          of its step. These are the codes of FAISS's SQ8.
binary    whether the number is above the dimension's mean in the sample. A query gets such bits too; its nearest
          documents by Hamming distance, four times as many as wanted, are ranked by the inner product of the query in
          float32 and the documents' bits as 1 and -1 (asymmetric distance).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from gradret.config.sizes import Precision

__all__ = ["OVERSAMPLE", "SAMPLE", "Codec", "CodedVectors", "cut", "fit"]

OVERSAMPLE = 4
"""Candidates by Hamming distance for each document that is wanted."""
SAMPLE = 1 << 16
"""Largest number of documents from which steps and means are taken."""

_LAST, _MIDDLE = 255, 128
"""The highest code, counted from 0, and the one that int8 stores as 0."""
_BLOCK = 1 << 23
"""Numbers decoded at a time: 32 MiB."""


def cut(vectors: np.ndarray, dimension: int, *, normalize: bool) -> np.ndarray:
    """Return the first ``dimension`` numbers of each vector, with ``normalize`` scaled to length 1 unless all are 0.

    Args:
        vectors: ``(n, dimensions)`` float32; returned as they are if they have no more.
        dimension: how many to keep.
        normalize: for a model whose similarity is cosine.
    """
    import numpy as np

    if dimension >= vectors.shape[1]:
        return vectors
    kept = vectors[:, :dimension]
    if normalize:
        lengths = np.sqrt(np.einsum("nd,nd->n", kept, kept, dtype=np.float64))
        kept = kept / np.where(lengths > 0, lengths, 1.0)[:, None]
    return np.ascontiguousarray(kept, np.float32)


@dataclass(frozen=True)
class Codec:
    """Turns vectors into codes and back."""

    precision: Precision
    scales: np.ndarray
    """``(2, dimension)`` float32: for int8 each dimension's lowest value and range, for binary its mean and 0."""

    @property
    def dimension(self) -> int:
        return int(self.scales.shape[1])

    @property
    def width(self) -> int:
        """Bytes of a vector's code."""
        return self.dimension if self.precision == "int8" else -(-self.dimension // 8)

    @property
    def dtype(self) -> str:
        """Type of the codes in numpy's notation; it tells the precision."""
        return "|i1" if self.precision == "int8" else "|u1"

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Return the codes ``(n, width)`` of ``(n, dimension)`` vectors; what is out of range becomes its border."""
        import numpy as np

        lowest, span = self.scales
        if self.precision == "binary":
            bits: np.ndarray = np.packbits(vectors > lowest, axis=1)
            return bits
        share = np.divide(vectors - lowest, span, out=np.zeros(vectors.shape, np.float32), where=span > 0)
        codes: np.ndarray = (np.floor(_LAST * share.clip(0, 1)) - _MIDDLE).astype(np.int8)
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the vectors ``(n, dimension)`` float32 that ``(n, width)`` codes stand for.

        Binary ones have length 1. The mean is left out: it adds the same to a query's scores of all documents.
        """
        import numpy as np

        lowest, span = self.scales
        if self.precision == "binary":
            bits = np.unpackbits(codes, axis=1, count=self.dimension).astype(np.float32)
            signs: np.ndarray = (2 * bits - 1) / np.float32(np.sqrt(self.dimension))
            return signs
        vectors: np.ndarray = lowest + (codes.astype(np.float32) + np.float32(_MIDDLE + 0.5)) * (span / _LAST)
        return vectors


def fit(precision: Precision, sample: np.ndarray) -> Codec:
    """Return the codec of a sample of the documents, ``(n, dimension)`` float32."""
    import numpy as np

    if not len(sample):
        return Codec(precision, np.zeros((2, sample.shape[1]), np.float32))
    if precision == "binary":
        mean = sample.mean(axis=0, dtype=np.float64)
        return Codec(precision, np.stack([mean, np.zeros_like(mean)]).astype(np.float32))
    lowest = sample.min(axis=0)
    return Codec(precision, np.stack([lowest, sample.max(axis=0) - lowest]).astype(np.float32))


class CodedVectors:
    """The codes of a shard in place of its vectors.

    Args:
        codes: ``(n, width)``, int8 or, if binary, uint8.
        scales: those of the codec.
    """

    def __init__(self, codes: np.ndarray, scales: np.ndarray) -> None:
        self.codes = codes
        self.codec = Codec("int8" if codes.dtype.kind == "i" else "binary", scales)
        self.shape = len(codes), self.codec.dimension

    def take(self, places: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return the vectors at ``places``, ``(n, dimension)`` float32, as numpy's ``take`` does."""
        return self.codec.decode(self.codes.take(places, axis=axis))

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and places, ``(n, k)``, of the ``k`` documents of the largest inner products, best first."""
        import faiss

        best = faiss.ResultHeap(len(queries), k, keep_max=True)
        for start, vectors in self._blocks():
            scores, places = faiss.knn(queries, vectors, min(k, len(vectors)), metric=faiss.METRIC_INNER_PRODUCT)
            best.add_result(scores, places + start)
        best.finalize()
        return best.D, best.I

    def nearest_bits(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ``k`` documents of the smallest Hamming distances, and all others as near as the k-th.

        So they do not depend on how documents are distributed over shards.

        Returns:
            The distances as negative scores, and the places, ``(n, at least k)``; -inf and -1 where there is none.
        """
        import faiss
        import numpy as np

        bits, size = self.codec.encode(queries), len(self.codes)
        k = fetch = min(k, size)
        while True:
            distances, places = faiss.knn_hamming(bits, self.codes, fetch)
            kth = distances[:, k - 1 : k]
            if fetch == size or (distances[:, -1:] > kth).all():
                break
            fetch = min(2 * fetch, size)
        near = distances <= kth
        return np.where(near, -distances.astype(np.float32), -np.inf), np.where(near, places, -1)

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        size = max(1, _BLOCK // self.codec.dimension)
        for start in range(0, len(self.codes), size):
            yield start, self.codec.decode(self.codes[start : start + size])
