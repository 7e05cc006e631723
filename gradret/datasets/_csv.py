"""Read CSV files: comma-separated columns, quoted values that may span lines, and a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from gradret.compressed import open_bytes
from gradret.datasets import Bad, Part, Row
from gradret.datasets._rows import Columns
from gradret.datasets._tables import check_columns, cut
from gradret.errors import DataError

__all__ = ["parts", "read"]

_LONGEST = (1 << 31) - 1
"""Longest value, in characters; the csv module's default is 131,072."""

Record = tuple[int, list[str] | Bad]
"""The line on which a record begins, and its values."""


def parts(path: Path, table: str, columns: Columns, split: str = "") -> list[Part]:
    """Split a CSV file into parts of whole records, counted after the header.

    Raises:
        DataError: the file cannot be read, or its header lacks a column or has it twice.
    """
    with _records(path) as records:
        names = _header(path, records)
        check_columns(str(path), table, columns.spelled(table, names), names)
        number = sum(1 for _ in records)
    return cut(str(path), number, path.stat().st_size, split)


def read(table: str, part: Part, columns: Columns) -> Iterator[tuple[int, Row | Bad]]:
    """Yield the rows of a part, each with the line on which it begins."""
    path = Path(part.path)
    with _records(path) as records:
        names = _header(path, records)
        columns = columns.spelled(table, names)
        for line, values in islice(records, part.start, part.end):
            if isinstance(values, Bad):
                yield line, values
            elif len(values) != len(names):
                yield line, Bad(f"expected the {len(names)} columns of the header", _raw(values))
            else:
                yield line, columns.row(table, dict(zip(names, values, strict=True)), _raw(values), part.split)


def _raw(values: list[str]) -> str:
    return ",".join(values)[:200]


@contextmanager
def _records(path: Path) -> Iterator[Iterator[Record]]:
    csv.field_size_limit(_LONGEST)
    with open_bytes(path) as file:
        # Bytes that are not UTF-8 become surrogates, so that one bad record does not end the file.
        yield _parse(io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=""))


def _parse(text: io.TextIOWrapper) -> Iterator[Record]:
    reader = csv.reader(text, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, Bad("invalid CSV", str(error))
            continue
        if any("\udc80" <= character <= "\udcff" for value in values for character in value):
            yield line, Bad("not UTF-8", ascii(_raw(values)))
        elif values:
            yield line, values


def _header(path: Path, records: Iterator[Record]) -> list[str]:
    _, names = next(records, (1, []))
    if isinstance(names, Bad):
        raise DataError(f"{path}: the header cannot be read: {names.reason}: {names.raw}")
    return names
