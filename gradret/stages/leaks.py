"""Find training queries that are near-duplicates of test queries: LEAKS.

This is the only stage before ``search`` that reads test queries: their texts, not their judgments. Its artifact is
fingerprinted by the leaks themselves, so another test set without leaks does not change the model.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.copies.similar import grams, similar
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["leaks"]


def leaks(config: Config, generated: Artifact, queries: Artifact | None) -> Artifact:
    """Write LEAKS: each training query with every test query that it resembles, and their similarity.

    This is the Jaccard similarity of the sets of character 4-grams within words, after ``gradret.text.fold``, NFKC
    normalisation and lower casing; equal texts have 1. A pair is a leak if its similarity is at least
    ``mine.leak_similarity``; 0 turns the check off, except that held-out queries themselves are always leaks.

    Args:
        config: the run's config.
        generated: QUERIES to train on.
        queries: QUERIES whose split ``test`` must not be trained on; None if there are none.
    """
    threshold = config.mine.leak_similarity
    if queries and queries.stage == "held_out":
        threshold = threshold or 1.0
    rows = _compare_queries(config, threshold, generated, queries).table("leaks") if threshold and queries else _empty()
    settings = {"rows": hashlib.sha256(json.dumps(rows.to_pylist()).encode()).hexdigest()}
    body = functools.partial(_leaks, rows)
    return make("leaks", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _empty() -> pa.Table:
    import pyarrow as pa

    from gradret.store.contracts import schema

    return pa.Table.from_batches([], schema("leaks"))


def _leaks(rows: pa.Table, draft: Draft) -> None:
    import pyarrow.compute as pc

    draft.write("leaks", rows)
    draft.count(leaks=pc.count_distinct(rows["query_id"]).as_py())


def _compare_queries(config: Config, threshold: float, generated: Artifact, queries: Artifact) -> Artifact:
    """LEAKS as an artifact that is fingerprinted by the compared queries."""
    settings = {"leak_similarity": threshold}
    inputs = {"queries": generated, "test_queries": queries}
    body = functools.partial(_compare, threshold, generated, queries)
    return make("leak_check", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _compare(threshold: float, generated: Artifact, queries: Artifact, draft: Draft) -> None:
    import pyarrow.compute as pc

    test = queries.table("queries", ["query_id", "split", "text"])
    test = test.filter(pc.equal(test["split"], "test"))
    draft.count(test_queries=test.num_rows)
    load = functools.partial(_Comparer, test, threshold)
    map_shards(draft, generated.shards("queries"), load)


class _Comparer:
    """Finds the pairs of a shard's queries and the test queries that are similar."""

    def __init__(self, test: pa.Table, threshold: float) -> None:
        self.ids, self.threshold = test["query_id"], threshold
        self.grams = grams(test["text"].to_pylist())

    def __call__(self, path: Path) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        rows = read_shard(path, "queries")
        pairs = pa.concat_tables([schema("leaks").empty_table(), *self._similar(rows)])
        return Result({"leaks": pairs}, rows.num_rows, rows.num_rows)

    def _similar(self, rows: pa.Table) -> Iterator[pa.Table]:
        import pyarrow as pa

        from gradret.store.contracts import schema

        for row, column, similarity in similar(grams(rows["text"].to_pylist()), self.grams, self.threshold):
            pairs = {
                "query_id": rows["query_id"].take(row),
                "test_query_id": self.ids.take(column),
                "similarity": pa.array(similarity, pa.float32()),
            }
            yield pa.table(pairs, schema("leaks"))
