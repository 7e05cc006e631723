"""Split tables on disk into parts that can be read in parallel, and read Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.datasets import Bad, Part, Row
from gradret.datasets._rows import Columns
from gradret.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["check_columns", "cut", "numbered", "parquet_parts", "read_parquet", "read_records", "rows"]

_PART_BYTES = 16 << 20
"""Size of a part, counting only the columns that are read."""
_BATCH_ROWS = 4096


def cut(path: str, num_rows: int, num_bytes: int, split: str = "") -> list[Part]:
    """Split a table into parts of about ``_PART_BYTES``; a table without rows is one empty part."""
    size = max(1, num_rows * _PART_BYTES // max(1, num_bytes))
    starts = range(0, num_rows, size) or [0]
    return [Part(path, start, min(start + size, num_rows), start + 1, split) for start in starts]


def check_columns(path: str, table: str, columns: Columns, have: Sequence[str]) -> None:
    """Check that a table has its columns, each once; documents may lack titles.

    Raises:
        DataError: a column is missing or there twice.
    """
    for name in columns.of(table):
        if have.count(name) > 1:
            raise DataError(f"{path}: {have.count(name)} columns are called {name!r}; rename all but one")
        if name not in have and not (table == "docs" and name == columns.title):
            raise DataError(f"{path}: no column {name!r}; it has {', '.join(have)}. Set their names in dataset.columns")


def rows(table: str, batch: pa.Table | pa.RecordBatch, columns: Columns, split: str) -> Iterator[Row | Bad]:
    """Yield the rows of an Arrow table."""
    for record in _records(batch):
        yield record if isinstance(record, Bad) else columns.row(table, record, str(record)[:200], split)


def _records(batch: pa.Table | pa.RecordBatch) -> Iterator[dict[str, object] | Bad]:
    """Yield rows as Python values; row by row where some of them have none, such as text that is not UTF-8."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for row in range(batch.num_rows):
            yield _record(batch.slice(row, 1))


def _record(row: pa.Table | pa.RecordBatch) -> dict[str, object] | Bad:
    try:
        record: dict[str, object] = row.to_pylist()[0]
    except UnicodeDecodeError as error:
        return Bad("not UTF-8", repr(error.object[:80]))
    except (ValueError, OverflowError) as error:
        return Bad("a value that Python cannot represent", str(error))
    return record


def parquet_parts(path: Path, table: str, columns: Columns, split: str = "") -> list[Part]:
    """Split a Parquet file into parts.

    Raises:
        DataError: the file is not Parquet, is truncated, or lacks a column or has it twice.
    """
    with _parquet(path) as file:
        columns = columns.spelled(table, file.schema_arrow.names)
        check_columns(str(path), table, columns, file.schema_arrow.names)
        num_rows = sum(_group_rows(file))
        return cut(str(path), num_rows, int(num_rows * _row_bytes(file, _present(file, table, columns))), split)


def read_parquet(table: str, part: Part, columns: Columns) -> Iterator[tuple[int, Row | Bad]]:
    """Yield the rows of a part of a Parquet file, each with its number in the file.

    Raises:
        DataError: the file cannot be read.
    """
    with _parquet(Path(part.path)) as file:
        columns = columns.spelled(table, file.schema_arrow.names)
        start = part.start
        for batch in _batches(file, part, _present(file, table, columns)):
            yield from enumerate(rows(table, batch, columns, part.split), start + 1)
            start += batch.num_rows


def read_records(path: Path) -> Iterator[tuple[int, dict[str, object] | Bad]]:
    """Yield the rows of a Parquet file with all their columns, each with its number.

    Raises:
        DataError: the file cannot be read.
    """
    with _parquet(path) as file:
        yield from numbered(_batches(file, Part(str(path), end=sum(_group_rows(file))), None))


def numbered(batches: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[tuple[int, dict[str, object] | Bad]]:
    """Yield the rows of Arrow tables, numbered from 1."""
    yield from enumerate(chain.from_iterable(map(_records, batches)), 1)


def _batches(file: pq.ParquetFile, part: Part, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part; ``names`` are the columns to read, None reads all."""
    counts = _group_rows(file)
    ends = list(accumulate(counts))
    groups = [n for n, end in enumerate(ends) if end > part.start and end - counts[n] < part.end]
    row = ends[groups[0]] - counts[groups[0]] if groups else 0
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names):
        yield batch[max(0, part.start - row) : max(0, part.end - row)]
        row += batch.num_rows
    # pyarrow ends early, without an error, where a damaged column is shorter than the others.
    if groups and row != ends[groups[-1]]:
        raise DataError(f"{part.path} is damaged: its columns end at row {row}, expected {ends[groups[-1]]}")


def _group_rows(file: pq.ParquetFile) -> list[int]:
    """Return the rows of each row group; a damaged footer may contradict their sum."""
    return [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]


def _present(file: pq.ParquetFile, table: str, columns: Columns) -> list[str]:
    return [name for name in columns.of(table) if name in file.schema_arrow.names]


def _row_bytes(file: pq.ParquetFile, names: list[str]) -> float:
    """Estimate a row's size from the first rows: pyarrow may abort where a damaged footer is asked for the size."""
    batch = next(file.iter_batches(_BATCH_ROWS, columns=names), None)
    return batch.nbytes / batch.num_rows if batch and batch.num_rows else 0.0


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} as Parquet: {' '.join(str(error).split())}") from error
