"""Training queries that say almost what a test query says: LEAKS.

The one stage before ``search`` that reads test queries: their texts, no judgments. What it gives to the stages
after it is named by the leaks that were found, so another test set without leaks changes no model.
"""

from __future__ import annotations

import functools
import hashlib
import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy.sparse import csr_array

    from gradret.config.run import Config

__all__ = ["leaks"]

_ROWS_A_BLOCK = 1000


def leaks(config: Config, generated: Artifact, queries: Artifact | None) -> Artifact:
    """LEAKS: each training query with every test query that it is like, and how much.

    Similarity is the Jaccard similarity of the sets of character 4-grams within words, lower case and in
    Unicode's NFKC; of equal texts it is 1. A pair is a leak at ``mine.leak_similarity`` or more; at 0 nothing
    is looked for.

    Args:
        config: of the run.
        generated: QUERIES to train on.
        queries: QUERIES of the dataset; those of split ``test`` are what must not be trained on. None where
            there are none.
    """
    threshold = config.mine.leak_similarity
    rows = _found(config, generated, queries).table("leaks") if threshold and queries else _none()
    settings = {"rows": hashlib.sha256(json.dumps(rows.to_pylist()).encode()).hexdigest()}
    body = functools.partial(_leaks, rows)
    return make("leaks", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _none() -> pa.Table:
    from gradret.store.contracts import schema

    return schema("leaks").empty_table()


def _leaks(rows: pa.Table, draft: Draft) -> None:
    import pyarrow.compute as pc

    draft.write("leaks", rows)
    draft.count(leaks=pc.count_distinct(rows["query_id"]).as_py())


def _found(config: Config, generated: Artifact, queries: Artifact) -> Artifact:
    """LEAKS, named by what was compared."""
    settings = {"leak_similarity": config.mine.leak_similarity}
    inputs = {"queries": generated, "test_queries": queries}
    body = functools.partial(_look, config, generated, queries)
    return make("leak_check", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _look(config: Config, generated: Artifact, queries: Artifact, draft: Draft) -> None:
    import pyarrow.compute as pc

    test = queries.table("queries", ["query_id", "split", "text"])
    test = test.filter(pc.equal(test["split"], "test"))
    draft.count(test_queries=test.num_rows)
    load = functools.partial(_Comparer, test, config.mine.leak_similarity)
    map_shards(draft, generated.shards("queries"), load)


class _Comparer:
    """Pairs of a shard's queries and test queries that are alike."""

    def __init__(self, test: pa.Table, threshold: float) -> None:
        self.ids, self.threshold = test["query_id"], threshold
        self.sets = _grams(test["text"].to_pylist())

    def __call__(self, path: Path) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        rows = read_shard(path, "queries")
        blocks = [rows.slice(start, _ROWS_A_BLOCK) for start in range(0, rows.num_rows, _ROWS_A_BLOCK)]
        found = pa.concat_tables([schema("leaks").empty_table(), *(self._alike(block) for block in blocks)])
        return Result({"leaks": found}, rows.num_rows, rows.num_rows)

    def _alike(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        from gradret.store.contracts import schema

        sets = _grams(rows["text"].to_pylist())
        common = (sets @ self.sets.T).tocoo()
        row, column = common.coords
        similarity = common.data / (sets.sum(axis=1)[row] + self.sets.sum(axis=1)[column] - common.data)
        alike = similarity >= self.threshold
        pairs = {
            "query_id": rows["query_id"].take(row[alike]),
            "test_query_id": self.ids.take(column[alike]),
            "similarity": pa.array(similarity[alike], pa.float32()),
        }
        return pa.table(pairs, schema("leaks"))


def _grams(texts: list[str]) -> csr_array:
    """``(len(texts), 2**20)``, 1 where a text has a 4-gram; two of a text meet in a column once in a thousand texts."""
    import numpy as np
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import HashingVectorizer

    plain = [unicodedata.normalize("NFKC", text) for text in texts]
    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(4, 4), binary=True, norm=None, alternate_sign=False, dtype=np.float32
    )
    return csr_array(vectorizer.transform(plain))
