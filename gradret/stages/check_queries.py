"""Draw the sample of the teacher check: judged queries outside the evaluated split.

These are the dataset's dev queries, else its training queries, else generated queries with their source document
as the only relevant one. The artifact is fingerprinted by its rows, so that it does not depend on test queries
and judgments.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradret.draw import draw as by_hash
from gradret.errors import DataError
from gradret.passage_ids import document_id
from gradret.stages.queries import judged, texts_by_id
from gradret.store.artifacts import Artifact, Draft, make

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.datasets import Row

__all__ = ["GENERATED", "Sample", "check_queries", "draw", "round_trip"]

GENERATED = "generated"

# The dataset's splits that may be used, in order of preference.
_SPLITS = ("dev", "train")


@dataclass(frozen=True)
class Sample:
    """Queries and their judgments, all marked ``test``, as ``evaluate`` expects."""

    origin: str
    """``dev`` or ``train`` (splits of the dataset), or ``generated``."""
    queries: list[Row]
    qrels: list[Row]


def check_queries(config: Config, sample: Sample) -> Artifact:
    """Write QUERIES and QRELS of the sample."""
    rows = [sample.queries, sample.qrels]
    settings = {"rows": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}
    body = functools.partial(_write, sample)
    return make("check_queries", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _write(sample: Sample, draft: Draft) -> None:
    import pyarrow as pa

    from gradret.store.contracts import schema

    draft.write("queries", pa.Table.from_pylist(sample.queries, schema("queries")))
    draft.write("qrels", pa.Table.from_pylist(sample.qrels, schema("qrels")))
    draft.count(queries=len(sample.queries), judgments=len(sample.qrels))


def draw(config: Config, generated: Artifact) -> Sample:
    """Draw at most ``check.queries`` queries, by a hash of seed and query_id; may be empty."""
    try:
        human = next((sample for sample in _human(config) if sample.queries), None)
    except DataError:  # no judged queries; the stage ``queries`` reports what is wrong
        human = None
    return human or _generated(config, generated)


def round_trip(sample: Sample, run: Artifact) -> Sample:
    """Keep the generated queries whose source document is in the run."""
    table = run.table("run", ["query_id", "doc_id"])
    retrieved = set(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    qrels = [row for row in sample.qrels if (row["query_id"], row["doc_id"]) in retrieved]
    query_ids = {row["query_id"] for row in qrels}
    return Sample(sample.origin, [row for row in sample.queries if row["query_id"] in query_ids], qrels)


def _human(config: Config) -> Iterator[Sample]:
    """For each split, draw queries with a relevant document that are not judged in the evaluated split."""
    for split in _SPLITS:
        grades = {pair: row["relevance"] for pair, row in judged(config, split).items()}
        if not grades:
            continue
        texts = texts_by_id(config)
        relevant = {query_id for (query_id, _), relevance in grades.items() if relevance > 0} & texts.keys()
        queries = _draw_rows(config, (_query(query_id, texts[query_id]) for query_id in relevant))
        drawn = {row["query_id"] for row in queries}
        qrels = [_judgment(*pair, relevance) for pair, relevance in sorted(grades.items()) if pair[0] in drawn]
        yield Sample(split, queries, qrels)


def _generated(config: Config, generated: Artifact) -> Sample:
    rows = (row for batch in generated.batches("queries") for row in batch.to_pylist() if row["source_doc_id"])
    queries = [row | {"split": "test"} for row in _draw_rows(config, rows)]
    document_of = document_id if config.passages.size else str
    qrels = [_judgment(row["query_id"], document_of(row["source_doc_id"]), 1) for row in queries]
    return Sample(GENERATED, queries, qrels)


def _draw_rows(config: Config, rows: Iterable[Row]) -> list[Row]:
    """Draw at most ``check.queries`` rows, sorted by query_id."""
    drawn = heapq.nsmallest(config.check.queries, rows, lambda row: by_hash("check", config.seed, row["query_id"]))
    return sorted(drawn, key=lambda row: str(row["query_id"]))


def _query(query_id: str, text: str) -> Row:
    return {"query_id": query_id, "text": text, "split": "test", "kind": "human", "generator": "human"}


def _judgment(query_id: str, doc_id: str, relevance: int) -> Row:
    return {"query_id": query_id, "doc_id": doc_id, "relevance": relevance, "split": "test"}
