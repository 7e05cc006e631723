"""Read JSON lines, Parquet, CSV and tab-separated files, chosen by file name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradret.compressed import plain_name
from gradret.datasets import Bad, Part, Row, _csv, _lines, _tables
from gradret.datasets._rows import Columns, from_fields
from gradret.errors import DataError
from gradret.store.fingerprint import hash_files

__all__ = ["Named", "content", "parts", "read"]

Named = Sequence[tuple[str, Path]]
"""Files, each with the split of its judgments; empty for documents and queries."""

_JSON = {".json", ".jsonl", ".ndjson"}


def content(files: Named) -> str:
    """Return a hash of the files' content.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for split, path in files:
        try:
            digest.update(f"{split} {hash_files([path])}\n".encode())
        except OSError as error:
            raise DataError(f"cannot read {error.filename}: {error.strerror}") from error
    return digest.hexdigest()


def parts(table: str, files: Named, columns: Columns) -> list[Part]:
    """Return the parts of the files.

    Raises:
        DataError: a file does not have the format that its name says, or lacks a column.
    """
    all_parts: list[Part] = []
    for split, path in files:
        kind = _kind(path)
        if kind == ".parquet":
            all_parts += _tables.parquet_parts(path, table, columns, split)
        elif kind == ".csv":
            all_parts += _csv.parts(path, table, columns, split)
        else:
            all_parts += _lines.parts(path, split)
    return all_parts


def read(table: str, part: Part, columns: Columns) -> Iterator[tuple[int, Row | Bad]]:
    """Yield the rows of a part, each with its line or row number."""
    kind = _kind(Path(part.path))
    if kind in {".parquet", ".csv"}:
        yield from (_tables.read_parquet if kind == ".parquet" else _csv.read)(table, part, columns)
        return
    first, text = _lines.first_line(Path(part.path))
    header = None if kind in _JSON else columns.header(table, text)
    columns = columns.spelled(table, _keys(text)) if kind in _JSON else columns
    for number, line in _lines.read(part):
        if isinstance(line, Bad):
            yield number, line
        elif kind in _JSON:
            yield number, _from_json(table, line, columns, part.split)
        elif not (header and number == first):
            yield number, from_fields(table, line, part.split, header)


def _kind(path: Path) -> str:
    return plain_name(path).suffix


def _keys(line: str) -> list[str]:
    """Return the keys of a JSON object; empty if the line is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return list(record) if isinstance(record, dict) else []


def _from_json(table: str, line: str, columns: Columns, split: str) -> Row | Bad:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Bad("invalid JSON", f"{error}: {line[:200]}")
    if not isinstance(record, dict):
        return Bad("not a JSON object", line[:200])
    return columns.row(table, record, line[:200], split)
