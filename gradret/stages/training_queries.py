"""The dataset's human training queries: QUERIES.

An artifact apart from ``queries``, whose test queries and judgments nothing before ``search`` may
depend on: this one is named by a hash of the training queries alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING

from gradret.artifacts import Artifact, Draft, make
from gradret.errors import DataError
from gradret.stages.queries import read_rows, unique_texts

if TYPE_CHECKING:
    from gradret.config import Config
    from gradret.datasets import Row

__all__ = ["training_queries"]


def training_queries(config: Config) -> Artifact:
    """QUERIES judged in split ``train``, marked so; one that is judged in the evaluated split too is left out.

    Broken rows are skipped; ``queries`` quarantines and counts them.

    Raises:
        DataError: there are none, or a query_id occurs twice.
    """
    rows = _rows(config)
    if not rows:
        raise DataError(
            "the dataset has no training queries: none is judged in split 'train' and not in "
            f"{config.dataset.split!r}; set generate.generator.queries to a generator that writes some, "
            "such as {name: extractive}"
        )
    settings = {"rows": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}
    body = functools.partial(_training_queries, rows)
    return make("training_queries", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _training_queries(rows: list[Row], draft: Draft) -> None:
    import pyarrow as pa

    from gradret.contracts import schema

    draft.write("queries", pa.Table.from_pylist(rows, schema("queries")))
    draft.count(queries=len(rows))


def _rows(config: Config) -> list[Row]:
    judged: dict[str, set[str]] = {}
    for _, row in read_rows(config, "qrels")[0]:
        judged.setdefault(row["split"], set()).add(row["query_id"])
    evaluated = judged.get(config.dataset.split, set())
    wanted = judged.get("train", set()) - evaluated
    if not wanted:
        return []
    texts = unique_texts(read_rows(config, "queries")[0])
    return [
        {"query_id": query_id, "text": texts[query_id], "split": "train", "kind": "human", "generator": "human"}
        for query_id in sorted(wanted & texts.keys())
    ]
