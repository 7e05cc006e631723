"""Find training queries that are near-duplicates of test queries: LEAKS.

This is the only stage before ``search`` that reads test queries: their texts, not their judgments. Its artifact is
fingerprinted by the leaks themselves, so another test set without leaks does not change the model.
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
from gradret.text import fold
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy.sparse import csr_array

    from gradret.config.run import Config

__all__ = ["leaks"]

_ROWS_A_BLOCK = 1000


def leaks(config: Config, generated: Artifact, queries: Artifact | None) -> Artifact:
    """Write LEAKS: each training query with every test query that it resembles, and their similarity.

    This is the Jaccard similarity of the sets of character 4-grams within words, after ``gradret.text.fold``, NFKC
    normalisation and lower casing; equal texts have 1. A pair is a leak if its similarity is at least
    ``mine.leak_similarity``; 0 turns the check off.

    Args:
        config: the run's config.
        generated: QUERIES to train on.
        queries: QUERIES of the dataset, whose split ``test`` must not be trained on; None if the dataset has none.
    """
    threshold = config.mine.leak_similarity
    rows = _compare_queries(config, generated, queries).table("leaks") if threshold and queries else _empty()
    settings = {"rows": hashlib.sha256(json.dumps(rows.to_pylist()).encode()).hexdigest()}
    body = functools.partial(_leaks, rows)
    return make("leaks", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _empty() -> pa.Table:
    from gradret.store.contracts import schema

    return schema("leaks").empty_table()


def _leaks(rows: pa.Table, draft: Draft) -> None:
    import pyarrow.compute as pc

    draft.write("leaks", rows)
    draft.count(leaks=pc.count_distinct(rows["query_id"]).as_py())


def _compare_queries(config: Config, generated: Artifact, queries: Artifact) -> Artifact:
    """LEAKS as an artifact that is fingerprinted by the compared queries."""
    settings = {"leak_similarity": config.mine.leak_similarity}
    inputs = {"queries": generated, "test_queries": queries}
    body = functools.partial(_compare, config, generated, queries)
    return make("leak_check", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _compare(config: Config, generated: Artifact, queries: Artifact, draft: Draft) -> None:
    import pyarrow.compute as pc

    test = queries.table("queries", ["query_id", "split", "text"])
    test = test.filter(pc.equal(test["split"], "test"))
    draft.count(test_queries=test.num_rows)
    load = functools.partial(_Comparer, test, config.mine.leak_similarity)
    map_shards(draft, generated.shards("queries"), load)


class _Comparer:
    """Finds the pairs of a shard's queries and the test queries that are similar."""

    def __init__(self, test: pa.Table, threshold: float) -> None:
        self.ids, self.threshold = test["query_id"], threshold
        self.sets = _grams(test["text"].to_pylist())

    def __call__(self, path: Path) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        rows = read_shard(path, "queries")
        blocks = [rows.slice(start, _ROWS_A_BLOCK) for start in range(0, rows.num_rows, _ROWS_A_BLOCK)]
        pairs = pa.concat_tables([schema("leaks").empty_table(), *(self._similar(block) for block in blocks)])
        return Result({"leaks": pairs}, rows.num_rows, rows.num_rows)

    def _similar(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        from gradret.store.contracts import schema

        sets = _grams(rows["text"].to_pylist())
        common = (sets @ self.sets.T).tocoo()
        row, column = common.coords
        similarity = common.data / (sets.sum(axis=1)[row] + self.sets.sum(axis=1)[column] - common.data)
        similar = similarity >= self.threshold
        pairs = {
            "query_id": rows["query_id"].take(row[similar]),
            "test_query_id": self.ids.take(column[similar]),
            "similarity": pa.array(similarity[similar], pa.float32()),
        }
        return pa.table(pairs, schema("leaks"))


def _grams(texts: list[str]) -> csr_array:
    """Hashed 4-grams, ``(len(texts), 2**20)``, 1 where a text has one; one text in a thousand has a collision."""
    import numpy as np
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import HashingVectorizer

    plain = [unicodedata.normalize("NFKC", fold(text)) for text in texts]
    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(4, 4), binary=True, norm=None, alternate_sign=False, dtype=np.float32
    )
    return csr_array(vectorizer.transform(plain))
