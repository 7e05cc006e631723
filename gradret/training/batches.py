"""The batches of a training: a function of seed, epoch and step alone, the same on every worker."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["Batch", "Groups"]


@dataclass
class Batch:
    """One optimizer step's queries and the unique documents of their lists.

    Shapes: Q queries, N unique documents, G the longest list.
    """

    queries_Q: np.ndarray
    """Row of each query in the query tokens."""
    docs_N: np.ndarray
    """Row of each document in the document tokens, ascending."""
    columns_QG: np.ndarray
    present_QG: np.ndarray
    grades_QG: np.ndarray
    positives_QG: np.ndarray
    masked_QN: np.ndarray


class Groups:
    """GROUPS of one split, as arrays over document numbers.

    Args:
        rows: GROUPS, sorted by query_id.
        doc_ids: all doc_ids, sorted; a document's number is its place.
        list_length: documents a query's list may have in a step.
        seed: of the config.
    """

    def __init__(self, rows: pa.Table, doc_ids: list[str], list_length: int, seed: int) -> None:
        import numpy as np

        number = {doc_id: place for place, doc_id in enumerate(doc_ids)}
        self.list_length, self.seed = list_length, seed
        self.query_ids: list[str] = rows["query_id"].to_pylist()
        self.docs = [np.array([number[doc] for doc in docs], np.int64) for docs in rows["doc_ids"].to_pylist()]
        self.grades = [np.array(grades, np.float32) for grades in rows["grades"].to_pylist()]
        self.positives = [np.array(positives, bool) for positives in rows["positives"].to_pylist()]
        self.relevant = [
            np.array([number[doc] for doc in docs if doc in number], np.int64)
            for docs in rows["relevant_doc_ids"].to_pylist()
        ]

    def __len__(self) -> int:
        return len(self.docs)

    def steps(self, batch_size: int) -> int:
        """Batches an epoch; the last may be smaller."""
        return math.ceil(len(self) / batch_size)

    def epoch(self, epoch: int, batch_size: int) -> Iterator[Batch]:
        """The epoch's batches, queries shuffled, lists drawn from their pools."""
        order = _generator(self.seed, epoch).permutation(len(self))
        for start in range(0, len(self), batch_size):
            yield self.batch(order[start : start + batch_size], epoch)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All queries once, in stored order, with the lists of epoch 0: for the dev loss."""
        import numpy as np

        for start in range(0, len(self), batch_size):
            yield self.batch(np.arange(start, min(start + batch_size, len(self))), 0)

    def batch(self, queries_Q: np.ndarray, epoch: int) -> Batch:
        """The batch of these queries."""
        import numpy as np

        picks = [self._list(int(query), epoch) for query in queries_Q]

        def listed(pools: list[np.ndarray]) -> np.ndarray:
            """What the lists hold of ``pools``, one list after the other."""
            return np.concatenate([pools[query][pick] for query, pick in zip(queries_Q, picks, strict=True)])

        docs_N, columns = np.unique(listed(self.docs), return_inverse=True)
        lengths_Q = np.array([len(pick) for pick in picks])
        present_QG = np.arange(lengths_Q.max()) < lengths_Q[:, None]
        columns_QG = np.zeros(present_QG.shape, np.int64)
        columns_QG[present_QG] = columns
        grades_QG = np.full(present_QG.shape, np.nan, np.float32)
        grades_QG[present_QG] = listed(self.grades)
        positives_QG = np.zeros(present_QG.shape, bool)
        positives_QG[present_QG] = listed(self.positives)
        return Batch(
            queries_Q=queries_Q,
            docs_N=docs_N,
            columns_QG=columns_QG,
            present_QG=present_QG,
            grades_QG=grades_QG,
            positives_QG=positives_QG,
            masked_QN=self._relevant_columns(queries_Q, docs_N) & ~_holds(columns_QG, present_QG, len(docs_N)),
        )

    def _relevant_columns(self, queries_Q: np.ndarray, docs_N: np.ndarray) -> np.ndarray:
        """``(Q, N)``: the document is known to be relevant to the query."""
        import numpy as np

        relevant = [self.relevant[query] for query in queries_Q]
        docs = np.concatenate(relevant)
        rows = np.repeat(np.arange(len(relevant)), [len(part) for part in relevant])
        columns = np.searchsorted(docs_N, docs).clip(max=len(docs_N) - 1)
        here = docs_N[columns] == docs
        relevant_QN = np.zeros((len(relevant), len(docs_N)), bool)
        relevant_QN[rows[here], columns[here]] = True
        return relevant_QN

    def _list(self, query: int, epoch: int) -> Any:
        """Places in the query's pool: its positives, short of the last place, then others as there is room."""
        import numpy as np

        pool = len(self.docs[query])
        if pool <= self.list_length:
            return np.arange(pool)
        first = min(int(self.positives[query].sum()), max(1, self.list_length - 1))
        draw = _generator(self.seed, epoch, query).choice(pool - first, self.list_length - first, replace=False)
        return np.concatenate([np.arange(first), first + np.sort(draw)])


def _holds(columns_QG: np.ndarray, present_QG: np.ndarray, width: int) -> np.ndarray:
    """``(Q, width)``: the query's list holds the column."""
    import numpy as np

    holds_QN = np.zeros((len(columns_QG), width), bool)
    rows, places = present_QG.nonzero()
    holds_QN[rows, columns_QG[rows, places]] = True
    return holds_QN


def _generator(*seeds: int) -> np.random.Generator:
    import numpy as np

    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seeds)))
