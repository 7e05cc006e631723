"""Training batches: they depend on seed, epoch and step only, and are the same on every worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradret.draw import draw

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["Batch", "Groups", "Pairs"]


@dataclass
class Batch:
    """Queries whose loss is computed together, and the unique documents of their lists.

    Shapes: Q queries, N unique documents, G length of the longest list, M pairs of ``masked_2M``.
    """

    queries_Q: np.ndarray
    """Row of each query in the query tokens."""
    docs_N: np.ndarray
    """Row of each document in the document tokens, ascending."""
    columns_QG: np.ndarray
    present_QG: np.ndarray
    grades_QG: np.ndarray
    teacher_QG: np.ndarray
    positives_QG: np.ndarray
    masked_2M: np.ndarray
    """Rows (ascending) and columns of documents known to be relevant but not in the query's list."""
    firsts_N: np.ndarray
    draws_Q: np.ndarray


class Groups:
    """The GROUPS of one split, as arrays of document numbers.

    Args:
        rows: GROUPS, sorted by query_id.
        doc_ids: the doc_ids of all documents of the lists, sorted; a document's number is its index.
        list_length: maximum length of a query's list in a step.
        seed: the config's seed.
        max_positives: maximum positives per list; 0 sets no limit.
        pick_positives: ``first`` takes them in stored order, ``cycle`` from a place that moves on every epoch.
    """

    def __init__(
        self,
        rows: pa.Table,
        doc_ids: pa.Array,
        list_length: int,
        seed: int,
        max_positives: int = 0,
        *,
        pick_positives: Literal["first", "cycle"] = "first",
    ) -> None:
        import numpy as np

        self.list_length, self.seed = list_length, seed
        self.max_positives, self.pick_positives = max_positives, pick_positives
        self.query_ids: list[str] = rows["query_id"].to_pylist()
        self.draws = np.array([draw(seed, query_id) >> 16 for query_id in self.query_ids], np.int64)
        self.docs = _Lists.numbers(rows["doc_ids"], doc_ids)
        self.grades, self.teacher = _Lists.numeric(rows["grades"]), _Lists.numeric(rows["scores"])
        self.positives = _Lists.flags(rows["positives"])
        self.known = _Lists.numbers(rows["relevant_doc_ids"], doc_ids)

    def __len__(self) -> int:
        return len(self.docs)

    def steps(self, batch_size: int, accumulate: int = 1) -> int:
        """Return the number of steps per epoch, of ``accumulate`` batches each; the last may be smaller."""
        return math.ceil(math.ceil(len(self) / batch_size) / accumulate)

    def epoch(self, epoch: int, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """Yield the epoch's batches from number ``start``, with shuffled queries and lists drawn from their pools."""
        order = _generator(self.seed, epoch).permutation(len(self))
        for first in range(start * batch_size, len(self), batch_size):
            yield self.batch(order[first : first + batch_size], epoch)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield all queries once, in stored order, with the lists of epoch 0; used for the dev loss."""
        import numpy as np

        for start in range(0, len(self), batch_size):
            yield self.batch(np.arange(start, min(start + batch_size, len(self))), 0)

    def batch(self, queries_Q: np.ndarray, epoch: int, more_docs: np.ndarray | None = None) -> Batch:
        """Build the batch of these queries; ``more_docs`` adds columns to those of the lists."""
        import numpy as np

        picks = [self._list(int(query), epoch) for query in queries_Q]
        lengths_Q = np.array([len(pick) for pick in picks])
        present_QG = np.arange(lengths_Q.max()) < lengths_Q[:, None]

        def listed(pools: _Lists) -> np.ndarray:
            """Concatenate the picked entries of ``pools`` over all lists."""
            return np.concatenate([pools[query][pick] for query, pick in zip(queries_Q, picks, strict=True)])

        def padded(pools: _Lists, fill: float) -> np.ndarray:
            values = listed(pools)
            values_QG = np.full(present_QG.shape, fill, values.dtype)
            values_QG[present_QG] = values
            return values_QG

        docs = listed(self.docs)
        docs_N = np.unique(docs if more_docs is None else np.concatenate([docs, more_docs]))
        columns_QG = np.zeros(present_QG.shape, np.int64)
        columns_QG[present_QG] = np.searchsorted(docs_N, docs)
        positives_QG = padded(self.positives, fill=False)
        firsts_N = np.zeros(len(docs_N), bool)
        firsts_N[columns_QG[positives_QG[:, 0], 0]] = True
        return Batch(
            queries_Q=queries_Q,
            docs_N=docs_N,
            columns_QG=columns_QG,
            present_QG=present_QG,
            grades_QG=padded(self.grades, np.nan),
            teacher_QG=padded(self.teacher, np.nan),
            positives_QG=positives_QG,
            masked_2M=self._masked(queries_Q, docs_N, columns_QG, present_QG),
            firsts_N=firsts_N,
            draws_Q=self.draws[queries_Q] + epoch,
        )

    def _masked(
        self, queries_Q: np.ndarray, docs_N: np.ndarray, columns_QG: np.ndarray, present_QG: np.ndarray
    ) -> np.ndarray:
        """Return rows and columns, ``(2, M)``, of relevant documents that are in the batch but not in the list."""
        import numpy as np

        relevant = [self._relevant(int(query)) for query in queries_Q]
        docs = np.concatenate(relevant)
        rows = np.repeat(np.arange(len(relevant)), [len(part) for part in relevant])
        columns = np.searchsorted(docs_N, docs).clip(max=len(docs_N) - 1)
        in_batch = docs_N[columns] == docs
        # Encode row and column as one number, so that numpy's set functions work on pairs.
        known = np.unique(rows[in_batch] * len(docs_N) + columns[in_batch])
        listed = (np.arange(len(columns_QG))[:, None] * len(docs_N) + columns_QG)[present_QG]
        return np.stack(np.divmod(np.setdiff1d(known, listed), len(docs_N)))

    def _relevant(self, query: int) -> np.ndarray:
        """Return the numbers of the query's relevant documents; -1 for one that no list names."""
        import numpy as np

        return np.concatenate([self.known[query], self.docs[query][self.positives[query]]])

    def _list(self, query: int, epoch: int) -> Any:
        """Pick indices of the query's pool: positives, at most all but one document, then others up to the length."""
        import numpy as np

        positives = int(self.positives[query].sum())
        others = len(self.docs[query]) - positives
        first = min(positives, self.max_positives or positives, max(1, self.list_length - min(1, others)))
        remaining = self.list_length - first
        draw: Any = np.arange(others)
        if others > remaining:
            draw = np.sort(_generator(self.seed, epoch, query).choice(others, remaining, replace=False))
        picked = np.arange(first)
        if self.pick_positives == "cycle" and positives:
            picked = np.sort((self.draws[query] + epoch + picked) % positives)
        return np.concatenate([picked, positives + draw])


class Pairs(Groups):
    """GROUPS whose documents are pairs; in a batch, each query's own are the only ones that are not masked."""

    def _masked(
        self, queries_Q: np.ndarray, docs_N: np.ndarray, columns_QG: np.ndarray, present_QG: np.ndarray
    ) -> np.ndarray:
        import numpy as np

        masked_QN = np.ones((len(queries_Q), len(docs_N)), bool)
        rows, places = present_QG.nonzero()
        masked_QN[rows, columns_QG[rows, places]] = False
        return np.stack(masked_QN.nonzero())


class _Lists:
    """The lists of all queries in one array, since many small arrays take several times the memory."""

    def __init__(self, column: pa.ChunkedArray, values: Callable[[pa.Array], np.ndarray]) -> None:
        lists = column.combine_chunks()
        first, offsets = lists.offsets[0].as_py(), lists.offsets.to_numpy()
        self.bounds, self.values = offsets - first, values(lists.flatten())

    @classmethod
    def numbers(cls, column: pa.ChunkedArray, doc_ids: pa.Array) -> _Lists:
        """Positions in ``doc_ids``, int64; -1 for a document that is not there."""
        import pyarrow.compute as pc

        return cls(column, lambda ids: pc.fill_null(pc.index_in(ids, value_set=doc_ids), -1).to_numpy().astype("int64"))

    @classmethod
    def numeric(cls, column: pa.ChunkedArray) -> _Lists:
        """Numbers, float32; NaN for null."""
        import pyarrow.compute as pc

        return cls(column, lambda values: pc.fill_null(values.cast("float32"), float("nan")).to_numpy())

    @classmethod
    def flags(cls, column: pa.ChunkedArray) -> _Lists:
        return cls(column, lambda values: values.to_numpy(zero_copy_only=False))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, query: int) -> np.ndarray:
        return self.values[self.bounds[query] : self.bounds[query + 1]]


def _generator(*seeds: int) -> np.random.Generator:
    import numpy as np

    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seeds)))
