"""Small Parquet files of documents, queries, judgments and labels, and seeded mutations of them."""

from __future__ import annotations

import decimal
import io
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["mutated"]

_TABLES: dict[str, dict[str, list[Any]]] = {
    "docs": {"_id": ["d1", "d2", "d\u00e9"], "title": ["Wings", "", None], "text": ["A wing.", "caf\u00e9", "x"]},
    "queries": {"_id": ["q1", "q2", "q3"], "text": ["lift of a wing", "a shell", "\u0939\u093f"]},
    "qrels": {"query-id": ["q1", "q2", "q2"], "corpus-id": ["d1", "d2", "d3"], "score": [3, 0, -1]},
    "labels": {"query_id": ["q1", "q2", "q2"], "doc_id": ["d1", "d2", "d3"], "score": [0.5, -1.25, 2.0]},
}
_OFFSETS = pa.array([0, 2, 4, 6], pa.int32()).buffers()[1]
_NOT_UTF8 = pa.Array.from_buffers(pa.string(), 3, [None, _OFFSETS, pa.py_buffer(b"ok\xff\xfeok")])
_COLUMNS: list[Any] = [
    ["a", "a", "b"], ["", " ", "x"], [None, None, None], ["a", None, "b"], [1, 2, 3], [1, -1, 1 << 40], [1.0, 2.0, 3.5],
    [float("nan"), 1.0, float("inf")], [True, False, None], [b"a", b"\xff", b"c"], [[1], [], None], [{"a": 1}] * 3,
    ["a\0b", "c\nd", "e\u2028f"], ["1", "1.0", "1_0"], ["1e19", "9" * 400, "-1"], ["\u0661", " 1", "1 "],
    [decimal.Decimal("1.00"), decimal.Decimal("2.50"), decimal.Decimal(0)], _NOT_UTF8,
    pa.array([0, 1, 2], pa.date32()), pa.array([1 << 55, 0, 1], pa.timestamp("ms")), pa.array([1, 2, 3], pa.uint64()),
    pa.array(["a", "b", "a"]).dictionary_encode(), pa.array([3, 1, 3]).dictionary_encode(), pa.nulls(3),
    pa.array([1, 2, 3], pa.int8()), pa.array([0.5, 1, 2], pa.float32()), pa.array(["a", "b", "c"], pa.large_string()),
    pa.array([0.1, 65504, 0], pa.float16()), pa.array([2**64 - 1, 0, 1], pa.uint64()),
    pa.array([1, 2, 3], pa.duration("s")),
]  # fmt: skip


def mutated(draw: random.Random) -> tuple[str, str, bytes]:
    """Return the mutation's name, the table and the file."""
    name = draw.choice(sorted(_TABLES))
    table = pa.table({column: pa.array(values) for column, values in _TABLES[name].items()})
    if draw.random() < 0.4:
        mutation = draw.choice(sorted(_OF_FILES))
        return mutation, name, _OF_FILES[mutation](_written(table, draw), draw)
    mutation = draw.choice(sorted(_OF_TABLES))
    return mutation, name, _written(_OF_TABLES[mutation](table, draw), draw)


def _written(table: pa.Table, draw: random.Random) -> bytes:
    file = io.BytesIO()
    options: dict[str, Any] = {
        "compression": draw.choice(["none", "snappy", "zstd", "gzip"]),
        "row_group_size": draw.choice([1, 2, 10]),
        "use_dictionary": draw.random() < 0.5,
        "version": draw.choice(["1.0", "2.6"]),
        "write_page_checksum": draw.random() < 0.5,
    }
    pq.write_table(table, file, **options)
    return file.getvalue()


def _column(table: pa.Table, draw: random.Random) -> pa.Table:
    place = draw.randrange(table.num_columns)
    values = draw.choice(_COLUMNS)
    return table.set_column(
        place, table.column_names[place], values if isinstance(values, pa.Array) else pa.array(values)
    )


def _dropped(table: pa.Table, draw: random.Random) -> pa.Table:
    return table.remove_column(draw.randrange(table.num_columns))


def _renamed(table: pa.Table, draw: random.Random) -> pa.Table:
    names = table.column_names
    names[draw.randrange(len(names))] = draw.choice([*names, "id", "", "text.x", "Score", "\u00e9"])
    return table.rename_columns(names)


def _again(table: pa.Table, draw: random.Random) -> pa.Table:
    return pa.concat_tables([table, table.slice(draw.randrange(3), draw.randrange(3))])


def _no_rows(table: pa.Table, _draw: random.Random) -> pa.Table:
    return table.slice(0, 0)


def _same(table: pa.Table, _draw: random.Random) -> pa.Table:
    return table


def _flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _cut_out(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.randint(1, 40) :]


def _no_parquet(data: bytes, draw: random.Random) -> bytes:
    return draw.choice([b"", b"PAR1", b"PAR1" * 3, b"q1\td1\t1\n", data + b"PAR1", data[4:], data + data])


_OF_TABLES = {
    "column": _column, "column dropped": _dropped, "column renamed": _renamed, "rows repeated": _again,
    "no rows": _no_rows, "unchanged": _same,
}  # fmt: skip
_OF_FILES = {"bytes flipped": _flip, "truncated": _truncate, "bytes cut out": _cut_out, "no Parquet": _no_parquet}
