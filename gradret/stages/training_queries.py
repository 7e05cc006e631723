"""Read the dataset's human training queries and their judgments: QUERIES and QRELS.

They are kept apart from the artifact ``queries``, whose test queries and judgments nothing before ``search`` may
depend on: this artifact is fingerprinted by the training queries and their judgments alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING

from gradret.errors import DataError
from gradret.stages.queries import judged, texts_by_id
from gradret.store.artifacts import Artifact, Draft, make

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.datasets import Row

__all__ = ["any_training_queries", "training_queries"]


def training_queries(config: Config) -> Artifact:
    """Read the QUERIES judged in split ``train``, marked ``train``, and their judgments.

    Leaves out queries that are also judged in the evaluated split. Skips broken rows; the stage ``queries``
    quarantines and counts them. If a pair is judged twice, the first judgment counts.

    Raises:
        DataError: the dataset has no such queries, or a query_id occurs twice.
    """
    artifact = any_training_queries(config)
    if artifact is None:
        raise DataError(
            "the dataset has no training queries: no query is judged in split 'train' and not in "
            f"{config.dataset.split!r}. The generator human needs them; for "
            "graded_documents set generate.generator.queries to a generator that writes queries, such as "
            "{name: extractive}"
        )
    return artifact


def any_training_queries(config: Config) -> Artifact | None:
    """As ``training_queries``, but None if the dataset has none."""
    tables = _tables(config)
    if not tables["queries"]:
        return None
    settings = {"rows": hashlib.sha256(json.dumps(tables).encode()).hexdigest()}
    body = functools.partial(_training_queries, tables)
    return make("training_queries", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _training_queries(tables: dict[str, list[Row]], draft: Draft) -> None:
    import pyarrow as pa

    from gradret.store.contracts import schema

    for table, rows in tables.items():
        draft.write(table, pa.Table.from_pylist(rows, schema(table)))
    draft.count(queries=len(tables["queries"]), judgments=len(tables["qrels"]))


def _tables(config: Config) -> dict[str, list[Row]]:
    qrels = judged(config, "train")
    if not qrels:
        return {"queries": [], "qrels": []}
    texts = texts_by_id(config)
    query_ids = sorted({query_id for query_id, _ in qrels} & texts.keys())
    return {
        "queries": [
            {"query_id": query_id, "text": texts[query_id], "split": "train", "kind": "human", "generator": "human"}
            for query_id in query_ids
        ],
        "qrels": [row for (query_id, _), row in sorted(qrels.items()) if query_id in texts],
    }
