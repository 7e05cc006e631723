"""Search the shards of an index; results do not depend on how the vectors are sharded if the type is exact.

The last bits of FAISS's scores depend on shard count and batch size, and FAISS picks arbitrarily among
ties. So a shard returns more than ``k`` candidates, until the rest is worse than the k-th by more than
rounding can explain; the candidates of all shards are merged; and those that remain are scored again from
the vectors in float64 and rounded to float32. All files are memory-mapped, so the kernel caches what fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gradret.errors import ConfigError
from gradret.search.codes import OVERSAMPLE, CodedVectors
from gradret.search.factory import lists, set_parameters
from gradret.search.shard_files import shard_file, verify
from gradret.search.topk import ordered
from gradret.search.vectors import norms

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow as pa

__all__ = ["MARGIN", "Candidates", "Shard", "Shards", "merge_candidates"]

MARGIN = 32
"""Candidates beyond ``k``: to detect ties with an exact type, to correct the order with any other."""

# Candidates per FAISS call when many tie, and numbers scored at a time: small enough for a core's cache and for
# memory that the allocator reuses. With ten times as many, each takes up to eight times as long.
_MAX_CANDIDATES, _SCORE_BLOCK = 1 << 22, 1 << 16

# Queries from which FAISS uses matrix multiplication, and the highest value of its threshold.
_BLAS_QUERIES, _NEVER = 4, (1 << 31) - 1


class Candidates(NamedTuple):
    """Candidates of ``n`` queries, in any order."""

    scores: np.ndarray
    """``(n, width)`` float32, FAISS's scores; -inf if there is no candidate."""
    places: np.ndarray
    """``(n, width)`` int64, rows of the shards; -1 if there is no candidate."""
    slack: np.ndarray
    """``(n,)``: scores that differ by more are in the right order; 0 if the type is not exact."""
    oversample: int = 1
    """How many times as many as wanted have to be scored: FAISS's scores are coarse."""


class Shard:
    """One shard, mapped into memory.

    Args:
        folder: the folder of the shards.
        number: number of the shard.
        parameters: search parameters.
        k: results per query, the most that a search will need.
        gpu: search on this process's GPU if FAISS supports it.

    Raises:
        DamagedError: a file is missing or damaged.
        ConfigError: the index has no such parameter, or there is no GPU.
    """

    def __init__(self, folder: Path, number: int, parameters: str = "", k: int = 0, *, gpu: bool = False) -> None:
        import faiss
        import pyarrow as pa

        verify(folder, number)
        self.vectors = _open_vectors(folder, number)
        ids = pa.ipc.open_file(pa.memory_map(str(shard_file(folder, number, "ids.arrow")))).read_all()
        self.doc_ids: pa.ChunkedArray = ids["doc_id"]
        self.longest = float(ids.schema.metadata[b"longest"])
        path = shard_file(folder, number, "faiss")
        self.index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC) if path.exists() else None
        binary = isinstance(self.vectors, CodedVectors) and self.vectors.codec.precision == "binary"
        self.exact = self.index is None and not binary
        self.parameters = (
            _check_no_parameters(parameters) if self.index is None else set_parameters(self.index, parameters, k)
        )
        self.fast = _on_gpu(self, parameters, k) if gpu and not isinstance(self.vectors, CodedVectors) else None

    def search(self, queries: np.ndarray, k: int, *, exact: bool = False) -> Candidates:
        """Return ``k + MARGIN`` candidates of each query, or all documents if there are fewer.

        If the search is exact, they include every document that may be among the ``k`` best.

        Args:
            queries: ``(n, dimension)`` float32.
            k: documents needed per query.
            exact: compare with all vectors, whatever the index type.
        """
        import numpy as np

        exact = exact or self.exact
        width = min(k + MARGIN, len(self.doc_ids))
        if not width:
            empty = (len(queries), 0)
            return Candidates(np.zeros(empty, np.float32), np.zeros(empty, np.int64), np.zeros(len(queries)))
        if isinstance(self.vectors, CodedVectors) and not exact:
            scores, places = self.vectors.nearest_bits(queries, OVERSAMPLE * (k + MARGIN))
            return Candidates(scores, places, np.zeros(len(queries)), OVERSAMPLE)
        scores, places = self._nearest(queries, width, exact=exact)
        scores[places < 0] = -np.inf
        if not exact:
            return Candidates(scores, places, np.zeros(len(queries)))
        candidates = Candidates(scores, places, self._slack(queries))
        if width < len(self.doc_ids):
            self._resolve_ties(queries, k, candidates)
        return candidates

    def score(self, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return scores ``(n,)`` float32 of ``(n, dimension)`` float64 queries, each with one document.

        einsum sums each row independently of the others, so scores do not depend on the batch.
        """
        import numpy as np

        # take is faster than indexing.
        exact: np.ndarray = np.einsum("nd,nd->n", self.vectors.take(places, axis=0).astype(np.float64), queries)
        return exact.astype(np.float32)

    def _nearest(self, queries: np.ndarray, fetch: int, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
        import faiss
        import numpy as np

        from gradret.search.gpu import MAX_RESULTS

        queries = np.ascontiguousarray(queries, np.float32)
        if self.fast is not None and fetch <= MAX_RESULTS and exact == self.exact:
            scores, places = self.fast.search(queries, fetch)
        elif exact or self.index is None:
            # FAISS 1.15 uses BLAS from 128,000 numbers (334 queries of dimension 384). BLAS is faster from four
            # queries, and seven times as fast for 300.
            faiss.cvar.distance_compute_blas_threshold = 0 if len(queries) >= _BLAS_QUERIES else _NEVER
            if isinstance(self.vectors, CodedVectors):
                return self.vectors.nearest(queries, fetch)
            scores, places = faiss.knn(queries, self.vectors, fetch, metric=faiss.METRIC_INNER_PRODUCT)
        else:
            scores, places = self.index.search(queries, fetch)
        return scores, places

    def _slack(self, queries: np.ndarray) -> np.ndarray:
        """Bound the rounding error of the difference of two float32 inner products summed in any order."""
        unit = 2.0**-23 * (queries.shape[1] + 2)
        if self.fast is not None:
            unit += 2.0**-9  # both factors have 11 bits
        slack: np.ndarray = unit * norms(queries) * self.longest
        return slack

    def _resolve_ties(self, queries: np.ndarray, k: int, candidates: Candidates) -> None:
        """If candidates may tie with documents beyond them, fetch more until none does, and keep the best."""
        import numpy as np

        size, width = len(self.doc_ids), candidates.places.shape[1]
        fetch, rows = width, np.flatnonzero(_tied(candidates.scores, k, candidates.slack))
        while len(rows):
            fetch, unresolved = min(2 * fetch, size), []
            step = max(1, _MAX_CANDIDATES // fetch)
            for part in (rows[at : at + step] for at in range(0, len(rows), step)):
                scores, places = self._nearest(queries[part], fetch, exact=True)
                tied = _tied(scores, k, candidates.slack[part]) & (fetch < size)
                for row, fetched in zip(part[~tied], places[~tied], strict=True):
                    candidates.places[row], candidates.scores[row] = self._best(queries[row], fetched, width)
                unresolved.append(part[tied])
            rows = np.concatenate(unresolved)

    def _best(self, query: np.ndarray, places: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        wide = query.astype(np.float64)[None]
        step = max(1, _SCORE_BLOCK // len(query))
        parts = [places[at : at + step] for at in range(0, len(places), step)]
        scores = np.concatenate([self.score(np.broadcast_to(wide, (len(part), len(query))), part) for part in parts])
        best = ordered(scores, self.doc_ids.take(places).to_pylist(), width)
        return places[best], scores[best]


class Shards:
    """Several shards as one; a place is a row number over all of them, in order."""

    def __init__(
        self, folder: Path, numbers: Iterable[int], parameters: str = "", k: int = 0, *, gpu: bool = False
    ) -> None:
        self.shards = [Shard(folder, number, parameters, k, gpu=gpu) for number in numbers]
        self.merged = None if gpu or len(self.shards) < 2 else self._merge(folder, list(numbers), parameters, k)

    @property
    def exact(self) -> bool:
        """Whether a search compares the query with every uncompressed vector."""
        return all(shard.exact for shard in self.shards)

    @cached_property
    def starts(self) -> np.ndarray:
        """Row number of each shard's first row."""
        import numpy as np

        return np.cumsum([0, *(len(shard.doc_ids) for shard in self.shards)])

    def search(self, queries: np.ndarray, k: int, *, exact: bool = False) -> Candidates:
        """Search each shard, or the merged index; see ``Shard.search``."""
        import numpy as np

        if self.merged is not None and not exact:
            scores, places = self.merged.search(np.ascontiguousarray(queries, np.float32), k + MARGIN)
            scores[places < 0] = -np.inf
            return Candidates(scores, places, np.zeros(len(queries)))
        parts = [shard.search(queries, k, exact=exact) for shard in self.shards]
        for part, start in zip(parts, self.starts, strict=False):
            part.places[part.places >= 0] += start
        return Candidates(
            np.concatenate([part.scores for part in parts], axis=1),
            np.concatenate([part.places for part in parts], axis=1),
            np.max([part.slack for part in parts], axis=0),
            max(part.oversample for part in parts),
        )

    def score(self, queries: np.ndarray, rows: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, pa.Array]:
        """Return exact scores, float32, and doc_ids of pairs of a query and a document.

        Args:
            queries: ``(n, dimension)`` float32.
            rows: each pair's query, ascending.
            places: each pair's document.
        """
        import numpy as np
        import pyarrow as pa

        queries64, scores = queries.astype(np.float64), np.zeros(len(places), np.float32)
        shard_of = np.searchsorted(self.starts, places, side="right") - 1
        doc_ids, positions = [pa.array([], pa.string())], [np.zeros(0, np.int64)]
        step = max(1, _SCORE_BLOCK // max(1, queries.shape[1]))
        for number, shard in enumerate(self.shards):
            pairs = np.flatnonzero(shard_of == number)
            within = places[pairs] - self.starts[number]
            for at in range(0, len(pairs), step):
                part = slice(at, at + step)
                scores[pairs[part]] = shard.score(queries64[rows[pairs[part]]], within[part])
            doc_ids += shard.doc_ids.take(pa.array(within)).chunks
            positions.append(pairs)
        restored = np.empty(len(places), np.int64)
        restored[np.concatenate(positions)] = np.arange(len(places))
        return scores, pa.concat_arrays(doc_ids).take(pa.array(restored))

    def _merge(self, folder: Path, numbers: list[int], parameters: str, k: int) -> faiss.Index | None:
        """Merge all shards into one index in memory, so that coarse quantization runs once per query, not per shard.

        Return None for exact search, which uses the memory-mapped vectors, and if FAISS cannot merge the type.
        """
        import faiss

        if any(shard.index is None for shard in self.shards):
            return None
        index, *others = (faiss.read_index(str(shard_file(folder, number, "faiss"))) for number in numbers)
        try:
            for other, start in zip(others, self.starts[1:].tolist(), strict=False):
                index.merge_from(other, start if lists(index) else 0)
        except RuntimeError:
            return None
        for shard in self.shards:
            shard.index = shard.fast = None
        set_parameters(index, parameters, k)
        return index


def merge_candidates(parts: Sequence[Candidates], k: int, *, exact: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Select the candidates of all parts of an index that may be among the ``k`` best; return rows and places.

    After an exact search they include those that rounding may have put behind the k-th, else ``MARGIN`` more, both as
    many times as the parts oversample.
    """
    import numpy as np

    scores = np.concatenate([part.scores for part in parts], axis=1)
    depth = (k if exact else k + MARGIN) * max((part.oversample for part in parts), default=1)
    threshold = np.full(len(scores), -np.inf)
    if depth < scores.shape[1]:
        threshold = np.partition(scores, -depth, axis=1)[:, -depth] - np.max([part.slack for part in parts], axis=0)
    chosen = []
    for part in parts:
        rows, columns = np.nonzero((part.scores >= threshold[:, None]) & (part.places >= 0))
        chosen.append((rows, part.places[rows, columns]))
    return chosen


def _open_vectors(folder: Path, number: int) -> np.ndarray | CodedVectors:
    """Map the shard's vectors, or the codes in their place, into memory."""
    import numpy as np

    # A plain array: rows of numpy's memmap class are memmaps too, which is slow.
    stored: np.ndarray = np.asarray(np.load(shard_file(folder, number, "npy"), mmap_mode="r"))
    scales = shard_file(folder, number, "scales.npy")
    return CodedVectors(stored, np.load(scales)) if scales.exists() else stored


def _tied(scores: np.ndarray, k: int, slack: np.ndarray) -> np.ndarray:
    """Return the queries whose last candidate may tie with the k-th; FAISS returns candidates best first."""
    tied: np.ndarray = scores[:, -1] >= scores[:, k - 1] - slack
    return tied


def _on_gpu(shard: Shard, parameters: str, k: int) -> faiss.Index | None:
    import faiss

    from gradret.search.gpu import on_gpu

    index = shard.index
    if index is None:
        assert not isinstance(shard.vectors, CodedVectors)
        index = faiss.IndexFlatIP(shard.vectors.shape[1])
        index.add(shard.vectors)
    moved = on_gpu(index)
    if moved is not None and shard.index is not None:
        set_parameters(moved, parameters, k, faiss.GpuParameterSpace())
    return moved


def _check_no_parameters(parameters: str) -> str:
    """Return ``parameters``, which must be empty for exact search.

    Raises:
        ConfigError: there are parameters.
    """
    if parameters:
        raise ConfigError(
            f"search.parameters={parameters}: index.factory=Flat has no search parameters; leave it empty"
        )
    return ""
