"""A shard of an index, searched exactly where its type is exact.

FAISS gives other last bits for other shard counts and batch sizes, and takes any of the documents
that tie. So a search finds more than it needs, on until what is left out is worse than the k-th by
more than rounding can explain; the candidates of all shards are merged; and what is left is scored
again from the vectors in float64 and rounded to float32. What then comes first does not depend on
how the vectors were divided. All files are mapped: the kernel keeps what there is room for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gradret.errors import ConfigError
from gradret.search.factory import lists, set_parameters
from gradret.search.shard_files import shard_file, verify
from gradret.search.topk import ordered
from gradret.search.vectors import norms

if TYPE_CHECKING:
    import faiss
    import numpy as np
    import pyarrow as pa

__all__ = ["MARGIN", "Found", "Shard", "Shards", "kept"]

MARGIN = 32
"""Candidates beyond the k-th: of an exact type to see the ties, of any other to be put right by exact scores."""

# Candidates that one call of FAISS may hold where many tie, and numbers that are scored at a time: few enough for
# a core's cache, and for memory that is not asked of the kernel each time. Ten times as many take up to eight
# times as long each.
_HELD, _SCORED = 1 << 22, 1 << 16

# Queries from which on FAISS is told to multiply matrices, and its threshold's highest value.
_MULTIPLIED, _NEVER = 4, (1 << 31) - 1


class Found(NamedTuple):
    """Candidates of ``n`` queries, in no order."""

    scores: np.ndarray
    """``(n, width)`` float32, as FAISS has them; -inf where there is no candidate."""
    places: np.ndarray
    """``(n, width)`` int64, rows of the shards; -1 where there is none."""
    slack: np.ndarray
    """``(n,)``: candidates whose scores differ by more are in the right order; 0 where no order is promised."""


class Shard:
    """One shard, mapped into memory.

    Args:
        folder: where the shard's files are.
        number: which one.
        parameters: search parameters.
        k: results a query, as many as will be asked for.
        gpu: search on this process's GPU as far as FAISS can there.

    Raises:
        StorageError: a file is missing or is not what was written.
        ConfigError: the index has no such parameter, or there is no GPU.
    """

    def __init__(self, folder: Path, number: int, parameters: str = "", k: int = 0, *, gpu: bool = False) -> None:
        import faiss
        import numpy as np
        import pyarrow as pa

        verify(folder, number)
        # As a plain array: numpy's class for mapped files makes every row that is taken one of its own.
        self.vectors: np.ndarray = np.asarray(np.load(shard_file(folder, number, "npy"), mmap_mode="r"))
        ids = pa.ipc.open_file(pa.memory_map(str(shard_file(folder, number, "ids.arrow")))).read_all()
        self.doc_ids: pa.ChunkedArray = ids["doc_id"]
        self.longest = float(ids.schema.metadata[b"longest"])
        path = shard_file(folder, number, "faiss")
        self.exact = not path.exists()
        self.index = None if self.exact else faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        self.parameters = _none(parameters) if self.index is None else set_parameters(self.index, parameters, k)
        self.fast = _on_gpu(self, parameters, k) if gpu else None

    def search(self, queries: np.ndarray, k: int, *, exact: bool = False) -> Found:
        """``k`` and ``MARGIN`` candidates of each query, or all that there are.

        Where the search is exact, any document that may be among the ``k`` best is one.

        Args:
            queries: ``(n, dimension)`` float32.
            k: how many are needed.
            exact: compare with all vectors, whatever the type.
        """
        import numpy as np

        exact = exact or self.exact
        width = min(k + MARGIN, len(self.doc_ids))
        if not width:
            nothing = (len(queries), 0)
            return Found(np.zeros(nothing, np.float32), np.zeros(nothing, np.int64), np.zeros(len(queries)))
        scores, places = self._nearest(queries, width, exact=exact)
        scores[places < 0] = -np.inf
        if not exact:
            return Found(scores, places, np.zeros(len(queries)))
        found = Found(scores, places, self._slack(queries))
        if width < len(self.doc_ids):
            self._settle(queries, k, found)
        return found

    def score(self, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
        """``(n,)`` float32 of ``(n, dimension)`` float64 queries and a document each.

        einsum's sum of a row does not depend on the others.
        """
        import numpy as np

        # take is faster than an index in brackets.
        exact: np.ndarray = np.einsum("nd,nd->n", self.vectors.take(places, axis=0).astype(np.float64), queries)
        return exact.astype(np.float32)

    def _nearest(self, queries: np.ndarray, fetch: int, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
        import faiss
        import numpy as np

        from gradret.search.gpu import MOST

        queries = np.ascontiguousarray(queries, np.float32)
        if self.fast is not None and fetch <= MOST and exact == self.exact:
            scores, places = self.fast.search(queries, fetch)
        elif exact or self.index is None:
            # FAISS 1.15 multiplies matrices from 128,000 numbers on, 334 queries of 384; from four on it is faster,
            # for 300 queries seven times.
            faiss.cvar.distance_compute_blas_threshold = 0 if len(queries) >= _MULTIPLIED else _NEVER
            scores, places = faiss.knn(queries, self.vectors, fetch, metric=faiss.METRIC_INNER_PRODUCT)
        else:
            scores, places = self.index.search(queries, fetch)
        return scores, places

    def _slack(self, queries: np.ndarray) -> np.ndarray:
        """What rounding may explain: the errors of two float32 inner products in any order, and of their last bits."""
        unit = 2.0**-23 * (queries.shape[1] + 2)
        if self.fast is not None:
            unit += 2.0**-9  # numbers of 11 bits on both sides
        slack: np.ndarray = unit * norms(queries) * self.longest
        return slack

    def _settle(self, queries: np.ndarray, k: int, found: Found) -> None:
        """Where candidates may tie with what was left out, fetch on until none does, and keep the best of them."""
        import numpy as np

        size, width = len(self.doc_ids), found.places.shape[1]
        fetch, rows = width, np.flatnonzero(_tied(found.scores, k, found.slack))
        while len(rows):
            fetch, still = min(2 * fetch, size), []
            step = max(1, _HELD // fetch)
            for part in (rows[at : at + step] for at in range(0, len(rows), step)):
                scores, places = self._nearest(queries[part], fetch, exact=True)
                tied = _tied(scores, k, found.slack[part]) & (fetch < size)
                for row, candidates in zip(part[~tied], places[~tied], strict=True):
                    found.places[row], found.scores[row] = self._best(queries[row], candidates, width)
                still.append(part[tied])
            rows = np.concatenate(still)

    def _best(self, query: np.ndarray, places: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        wide = query.astype(np.float64)[None]
        step = max(1, _SCORED // len(query))
        parts = [places[at : at + step] for at in range(0, len(places), step)]
        scores = np.concatenate([self.score(np.broadcast_to(wide, (len(part), len(query))), part) for part in parts])
        best = ordered(scores, self.doc_ids.take(places).to_pylist(), width)
        return places[best], scores[best]


class Shards:
    """Several shards as one: a place is a row of all of them, in order."""

    def __init__(
        self, folder: Path, numbers: Iterable[int], parameters: str = "", k: int = 0, *, gpu: bool = False
    ) -> None:
        self.shards = [Shard(folder, number, parameters, k, gpu=gpu) for number in numbers]
        self.merged = None if gpu or len(self.shards) < 2 else self._merge(folder, list(numbers), parameters, k)

    @property
    def exact(self) -> bool:
        """Whether every vector is compared with the query as it is."""
        return all(shard.exact for shard in self.shards)

    @cached_property
    def starts(self) -> np.ndarray:
        """The place of each shard's first row."""
        import numpy as np

        return np.cumsum([0, *(len(shard.doc_ids) for shard in self.shards)])

    def search(self, queries: np.ndarray, k: int, *, exact: bool = False) -> Found:
        """As ``Shard.search``, of each shard, or of all that FAISS merged."""
        import numpy as np

        if self.merged is not None and not exact:
            scores, places = self.merged.search(np.ascontiguousarray(queries, np.float32), k + MARGIN)
            scores[places < 0] = -np.inf
            return Found(scores, places, np.zeros(len(queries)))
        parts = [shard.search(queries, k, exact=exact) for shard in self.shards]
        for part, start in zip(parts, self.starts, strict=False):
            part.places[part.places >= 0] += start
        return Found(
            np.concatenate([part.scores for part in parts], axis=1),
            np.concatenate([part.places for part in parts], axis=1),
            np.max([part.slack for part in parts], axis=0),
        )

    def score(self, queries: np.ndarray, rows: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, pa.Array]:
        """Exact scores, float32, and doc_ids of ``(query, document)`` pairs.

        Args:
            queries: ``(n, dimension)`` float32.
            rows: the query of each pair, ascending.
            places: the document of each.
        """
        import numpy as np
        import pyarrow as pa

        wide, scores = queries.astype(np.float64), np.zeros(len(places), np.float32)
        shard_of = np.searchsorted(self.starts, places, side="right") - 1
        doc_ids, positions = [pa.array([], pa.string())], [np.zeros(0, np.int64)]
        step = max(1, _SCORED // max(1, queries.shape[1]))
        for number, shard in enumerate(self.shards):
            mine = np.flatnonzero(shard_of == number)
            within = places[mine] - self.starts[number]
            for at in range(0, len(mine), step):
                part = slice(at, at + step)
                scores[mine[part]] = shard.score(wide[rows[mine[part]]], within[part])
            doc_ids += shard.doc_ids.take(pa.array(within)).chunks
            positions.append(mine)
        back = np.empty(len(places), np.int64)
        back[np.concatenate(positions)] = np.arange(len(places))
        return scores, pa.concat_arrays(doc_ids).take(pa.array(back))

    def _merge(self, folder: Path, numbers: list[int], parameters: str, k: int) -> faiss.Index | None:
        """One index of all shards, in memory, so that lists are chosen and tables made once a query, not once a shard.

        None where vectors are compared as they are, which maps them, and of types that FAISS cannot merge.
        """
        import faiss

        if self.exact:
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


def kept(found: Sequence[Found], k: int, *, exact: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each of ``found``, parts of one index, the rows and places that may be among the ``k`` best of all.

    Of an exact search those that rounding may have put behind the k-th too, of any other ``MARGIN`` more.
    """
    import numpy as np

    scores = np.concatenate([part.scores for part in found], axis=1)
    depth = k if exact else k + MARGIN
    bar = np.full(len(scores), -np.inf)
    if depth < scores.shape[1]:
        bar = np.partition(scores, -depth, axis=1)[:, -depth] - np.max([part.slack for part in found], axis=0)
    chosen = []
    for part in found:
        rows, columns = np.nonzero((part.scores >= bar[:, None]) & (part.places >= 0))
        chosen.append((rows, part.places[rows, columns]))
    return chosen


def _tied(scores: np.ndarray, k: int, slack: np.ndarray) -> np.ndarray:
    """Queries whose last candidate is not surely worse than the k-th; FAISS gives them best first."""
    tied: np.ndarray = scores[:, -1] >= scores[:, k - 1] - slack
    return tied


def _on_gpu(shard: Shard, parameters: str, k: int) -> faiss.Index | None:
    import faiss

    from gradret.search.gpu import on_gpu

    index = shard.index
    if index is None:
        index = faiss.IndexFlatIP(shard.vectors.shape[1])
        index.add(shard.vectors)
    moved = on_gpu(index)
    if moved is not None and shard.index is not None:
        set_parameters(moved, parameters, k, faiss.GpuParameterSpace())
    return moved


def _none(parameters: str) -> str:
    """Exact search has no parameters.

    Raises:
        ConfigError: some are given.
    """
    if parameters:
        raise ConfigError(f"search.parameters={parameters}: index.factory=Flat has no search parameters")
    return ""
