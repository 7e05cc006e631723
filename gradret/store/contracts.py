"""The Arrow schemas of the tables between stages, and ``check()``.

Ids are strings. ``KEYS`` lists the columns that identify a row, in sorting order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradret.errors import ContractError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["GENERATED", "KEYS", "check", "schema"]

GENERATED = "generated~"
"""Prefix of the doc_ids of generated documents; no doc_id of a corpus may have it."""

KEYS: dict[str, tuple[str, ...]] = {
    "docs": ("doc_id",),
    "lengths": ("doc_id",),
    "sample": ("doc_id",),
    "duplicates": ("doc_id",),
    "copies": ("doc_id",),
    "queries": ("query_id",),
    "qrels": ("query_id", "doc_id"),
    "leaks": ("query_id", "test_query_id"),
    "pairs": ("query_id", "doc_id"),
    "labels": ("query_id", "doc_id", "source"),
    "groups": ("query_id",),
    "audit": ("origin", "first_rank"),  # one row per shard: readers sum them
    "suspects": ("pair_id", "origin"),
    "vectors": ("id",),
    "run": ("query_id", "rank"),
    "metrics": ("query_id", "measure"),
    "answers": ("prompt_id",),
    "quarantine": ("table", "where"),
}


_COLUMNS = {
    "docs": "doc_id title? text origin",
    "lengths": "doc_id passages:int32",
    "sample": "doc_id",
    "duplicates": "doc_id kept_doc_id reason",
    "copies": "doc_id kept_doc_id reason",
    "queries": "query_id text split? source_doc_id? kind? generator",
    "qrels": "query_id doc_id relevance:int32 split",
    "leaks": "query_id test_query_id similarity:float32",
    "pairs": "pair_id query_id doc_id origins:[string] ranks:[int32]",
    "labels": "pair_id query_id doc_id source score:float32",
    "groups": "query_id split source_doc_id? kind? doc_ids:[string] grades:[float32] scores:[float32] "
    "positives:[bool] relevant_doc_ids:[string]",
    "audit": "origin first_rank:int32 listed:int64 positives:int64 negatives:int64 suspects:int64",
    "suspects": "pair_id query_id doc_id positive_doc_id origin rank:int32 score:float32 positive_score:float32",
    "vectors": "id vector:[float32]",
    "run": "query_id doc_id score:float32 rank:int32",
    "metrics": "query_id measure value:float64",
    "answers": "prompt_id text finish tokens_in:int32 tokens_out:int32 logprobs:[float32] error cut:int32 facts",
    "quarantine": "table where reason raw?",
}
"""Columns as ``name:type``. The default type is string, ``[type]`` is a list; ``?`` marks a nullable column."""


def schema(contract: str) -> pa.Schema:
    """The Arrow schema of ``contract``, one of ``KEYS``."""
    # Importing pyarrow takes a third of a second, more than all of `gradret --help` may take.
    import pyarrow as pa

    return pa.schema([_field(column) for column in _COLUMNS[contract].split()])


def _field(column: str) -> pa.Field:
    import pyarrow as pa

    name, _, kind = column.partition(":")
    item = pa.type_for_alias(kind.strip("[]") or "string")
    return pa.field(name.rstrip("?"), pa.list_(item) if kind.startswith("[") else item, nullable=name.endswith("?"))


def check(table: pa.Table, contract: str, where: str) -> pa.Table:
    """Return ``table`` with exactly the columns of ``contract``, in its order and types.

    Args:
        table: rows that a stage read or is about to write.
        contract: one of ``KEYS``.
        where: the file or stage, for the message.

    Raises:
        ContractError: a column is missing, unknown or of another type, or has a null where none is allowed.
    """
    import pyarrow as pa

    want = schema(contract)
    if contract == "vectors" and _is_half(table):
        want = want.set(1, pa.field("vector", pa.list_(pa.float16()), nullable=False))
    missing = [name for name in want.names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in want.names]
    if missing or extra:
        raise ContractError(f"{where}: {contract} is missing columns {missing} and has unknown columns {extra}")
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
    """Whether the vectors are float16, which VECTORS allows."""
    import pyarrow as pa

    kind = table.schema.field("vector").type if "vector" in table.column_names else pa.null()
    return bool(pa.types.is_list(kind) and pa.types.is_float16(kind.value_type))
