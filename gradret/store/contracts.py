"""The Arrow schemas between stages, and ``check()``.

Ids are strings. A column marked ``_must`` never holds a null. ``KEYS`` names the columns that
identify a row, in the order in which readers sort.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradret.errors import ContractError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["GENERATED", "KEYS", "check", "schema"]

GENERATED = "generated~"
"""What doc_ids of documents that an LLM wrote begin with, and no doc_id of a corpus may."""

KEYS: dict[str, tuple[str, ...]] = {
    "docs": ("doc_id",),
    "sample": ("doc_id",),
    "duplicates": ("doc_id",),
    "queries": ("query_id",),
    "qrels": ("query_id", "doc_id"),
    "leaks": ("query_id", "test_query_id"),
    "pairs": ("query_id", "doc_id"),
    "labels": ("query_id", "doc_id", "source"),
    "groups": ("query_id",),
    "audit": ("origin", "first_rank"),  # a row a shard: readers add them up
    "suspects": ("pair_id", "origin"),
    "vectors": ("id",),
    "run": ("query_id", "rank"),
    "metrics": ("query_id", "measure"),
    "answers": ("prompt_id",),
    "quarantine": ("table", "where"),
}


def schema(contract: str) -> pa.Schema:
    """The Arrow schema of ``contract``, one of ``KEYS``."""
    # pyarrow takes a third of a second to import, more than `gradret --help` may take in all.
    import pyarrow as pa

    text, real = pa.string(), pa.float32()

    def _must(name: str, kind: pa.DataType) -> pa.Field:
        return pa.field(name, kind, nullable=False)

    columns = {
        "docs": [_must("doc_id", text), ("title", text), _must("text", text), _must("origin", text)],
        "sample": [_must("doc_id", text)],
        "duplicates": [_must("doc_id", text), _must("kept_doc_id", text), _must("reason", text)],
        "queries": [
            _must("query_id", text),
            _must("text", text),
            ("split", text),
            ("source_doc_id", text),
            ("kind", text),
            _must("generator", text),
        ],
        "qrels": [
            _must("query_id", text),
            _must("doc_id", text),
            _must("relevance", pa.int32()),
            _must("split", text),
        ],
        "leaks": [_must("query_id", text), _must("test_query_id", text), _must("similarity", real)],
        "pairs": [
            _must("pair_id", text),
            _must("query_id", text),
            _must("doc_id", text),
            _must("origins", pa.list_(text)),
            _must("ranks", pa.list_(pa.int32())),
        ],
        "labels": [
            _must("pair_id", text),
            _must("query_id", text),
            _must("doc_id", text),
            _must("source", text),
            _must("score", real),
        ],
        "groups": [
            _must("query_id", text),
            _must("split", text),
            ("source_doc_id", text),
            ("kind", text),
            _must("doc_ids", pa.list_(text)),
            _must("grades", pa.list_(real)),
            _must("scores", pa.list_(real)),
            _must("positives", pa.list_(pa.bool_())),
            _must("relevant_doc_ids", pa.list_(text)),
        ],
        "audit": [
            _must("origin", text),
            _must("first_rank", pa.int32()),
            _must("listed", pa.int64()),
            _must("positives", pa.int64()),
            _must("negatives", pa.int64()),
            _must("suspects", pa.int64()),
        ],
        "suspects": [
            _must("pair_id", text),
            _must("query_id", text),
            _must("doc_id", text),
            _must("positive_doc_id", text),
            _must("origin", text),
            _must("rank", pa.int32()),
            _must("score", real),
            _must("positive_score", real),
        ],
        "vectors": [_must("id", text), _must("vector", pa.list_(real))],
        "run": [
            _must("query_id", text),
            _must("doc_id", text),
            _must("score", real),
            _must("rank", pa.int32()),
        ],
        "metrics": [_must("query_id", text), _must("measure", text), _must("value", pa.float64())],
        "answers": [
            _must("prompt_id", text),
            _must("text", text),
            _must("finish", text),
            _must("tokens_in", pa.int32()),
            _must("tokens_out", pa.int32()),
            _must("logprobs", pa.list_(real)),
            _must("error", text),
            _must("cut", pa.int32()),
            _must("facts", text),
        ],
        "quarantine": [_must("table", text), _must("where", text), _must("reason", text), ("raw", text)],
    }
    return pa.schema([pa.field(*column) if isinstance(column, tuple) else column for column in columns[contract]])


def check(table: pa.Table, contract: str, where: str) -> pa.Table:
    """``table`` with exactly the columns of ``contract``, in its order and types.

    Args:
        table: what a stage read or is about to write.
        contract: one of ``KEYS``.
        where: the file or stage, for the message.

    Raises:
        ContractError: a column is missing or extra, has another type, or holds a null it must not.
    """
    import pyarrow as pa

    want = schema(contract)
    if contract == "vectors" and _is_half(table):
        want = want.set(1, pa.field("vector", pa.list_(pa.float16()), nullable=False))
    missing = [name for name in want.names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in want.names]
    if missing or extra:
        raise ContractError(f"{where}: {contract} lacks columns {missing} and has unknown columns {extra}")
    table = table.select(want.names)
    for field in want:
        column = table.column(field.name)
        if not field.nullable and column.null_count:
            row = column.is_null().index(pa.scalar(value=True)).as_py()
            raise ContractError(f"{where}: {contract}.{field.name} is null in row {row}")
        try:
            column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ContractError(f"{where}: {contract}.{field.name} is not {field.type}: {error}") from error
    return table.cast(want)


def _is_half(table: pa.Table) -> bool:
    """VECTORS may be stored in float16."""
    import pyarrow as pa

    kind = table.schema.field("vector").type if "vector" in table.column_names else pa.null()
    return bool(pa.types.is_list(kind) and pa.types.is_float16(kind.value_type))
