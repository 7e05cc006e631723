"""Read the rankings that other tools store as tables: PyTerrier's frames as CSV or Parquet, ranx's JSON or Parquet."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.compressed import open_bytes, plain_name
from gradret.errors import DataError
from gradret.judgments import id_problem

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_run_table", "read_run_table"]

# The first name that a file has counts: PyTerrier's docno is the id of a document, its docid a number in the index.
_QUERY_IDS = ("query_id", "qid", "q_id", "query-id")
_DOC_IDS = ("docno", "doc_id", "corpus-id", "document_id", "docid")
_SCORES = ("score",)


def is_run_table(path: Path) -> bool:
    """Return whether the suffix, apart from a compression's, is ``.json``, ``.csv`` or ``.parquet``."""
    return plain_name(path).suffix in _READERS


def read_run_table(path: Path) -> pa.Table:
    """Return the rows ``query_id``, ``doc_id``, ``score`` (float32) and ``line``, the row's number in the file.

    Raises:
        DataError: the file cannot be read, lacks a column, or has an id or a score that cannot be used.
    """
    import pyarrow as pa

    try:
        query_ids, doc_ids, scores, first = _READERS[plain_name(path).suffix](path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a run: {error}") from error
    for number, (query_id, doc_id, score) in enumerate(zip(query_ids, doc_ids, scores, strict=True), first):
        problem = id_problem(query_id or "", "query_id") or id_problem(doc_id or "", "doc_id")
        if problem or score is None or math.isnan(score):
            raise DataError(f"{path}:{number}: {problem or 'the score is missing or not a number'}")
    return pa.table(
        {
            "query_id": pa.array(query_ids, pa.string()),
            "doc_id": pa.array(doc_ids, pa.string()),
            "score": pa.array(scores, pa.float64()).cast(pa.float32(), safe=False),
            "line": pa.array(range(first, first + len(scores)), pa.int64()),
        }
    )


_Rows = tuple[list[Any], list[Any], list[Any], int]
"""Query ids, document ids and scores, and the number of the first row."""


def _json(path: Path) -> _Rows:
    """``{query_id: {doc_id: score}}``."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise DataError(f"{path} lists {next(name for name in names if names.count(name) > 1)!r} twice; keep one")
        return found

    with open_bytes(path) as file:
        run = json.load(file, object_pairs_hook=unique)
    lists = run.values() if isinstance(run, dict) else [None]
    if not all(isinstance(ranked, dict) and all(map(_is_number, ranked.values())) for ranked in lists):
        raise DataError(f"{path}: expected {{query_id: {{doc_id: score}}}}, as ranx writes it")
    rows = [(query_id, doc_id, float(score)) for query_id, ranked in run.items() for doc_id, score in ranked.items()]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], 1


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _csv(path: Path) -> _Rows:
    from pyarrow import csv

    with open_bytes(path) as file:
        names = csv.open_csv(file).schema.names
    query_id, doc_id, score = _columns(path, names)
    options = csv.ConvertOptions(
        column_types={query_id: "string", doc_id: "string", score: "float64"},
        include_columns=[query_id, doc_id, score],
    )
    with open_bytes(path) as file:
        rows = csv.read_csv(file, convert_options=options)
    return *(rows[name].to_pylist() for name in (query_id, doc_id, score)), 2


def _parquet(path: Path) -> _Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    query_id, doc_id, score = _columns(path, pq.read_schema(path).names)
    rows = pq.read_table(path, columns=[query_id, doc_id, score])
    ids = [rows[name] for name in (query_id, doc_id)]
    for name, column in zip((query_id, doc_id), ids, strict=True):
        if not (pa.types.is_integer(column.type) or pa.types.is_string(column.type) or _is_large(column.type)):
            raise DataError(f"{path}: column {name} must hold strings or whole numbers, got {column.type}")
    query_ids, doc_ids = (column.cast(pa.string()).to_pylist() for column in ids)
    return query_ids, doc_ids, rows[score].cast(pa.float64()).to_pylist(), 1


def _is_large(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _columns(path: Path, names: list[str]) -> list[str]:
    """The names of the columns of query ids, document ids and scores."""
    found = [next((name for name in known if name in names), None) for known in (_QUERY_IDS, _DOC_IDS, _SCORES)]
    if None in found:
        raise DataError(
            f"{path}: expected columns such as qid, docno and score, got {', '.join(names)}; rename them, or write a "
            "TREC run file"
        )
    return [name for name in found if name]


_READERS = {".json": _json, ".csv": _csv, ".parquet": _parquet}
