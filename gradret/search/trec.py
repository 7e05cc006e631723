"""TREC run files, with six columns per line: ``query_id Q0 doc_id rank score tag``."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.compressed import open_bytes
from gradret.errors import DataError
from gradret.judgments import id_problem
from gradret.search.run_tables import is_run_table, read_run_table
from gradret.store.atomic import write_text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.store.artifacts import Artifact

__all__ = ["ranks", "read_run", "write_run"]

_SCORE = re.compile(rb" *[+-]?(inf(inity)?|([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?) *", re.IGNORECASE)
_CHUNK_LINES = 1 << 17
_EXPECTED = "expected six columns, 'query_id Q0 doc_id rank score tag'"


def read_run(path: str | Path) -> pa.Table:
    """Read a run file, compressed or not, as a RUN sorted by query_id and rank.

    A ``.json``, ``.csv`` or ``.parquet`` file is read as ``gradret.search.run_tables`` does, any other as TREC's.
    A line with five tabs is split at tabs, so that its ids may contain spaces; any other line at whitespace. As
    in trec_eval, documents are ranked by float32 score, then doc_id, both descending; the ranks and the order
    of the lines in the file are ignored. Memory use is about the size of the file.

    Raises:
        DataError: the file cannot be read or is empty, a line is malformed or its score is not a number, or a
            query lists a document twice; the message names the line.
    """
    import pyarrow as pa

    path = Path(path)
    chunks = [read_run_table(path)] if is_run_table(path) else list(_chunks(path))
    if not any(chunk.num_rows for chunk in chunks):
        raise DataError(f"{path} is empty; {_EXPECTED}")
    rows = pa.concat_tables(chunks).combine_chunks()
    rows = rows.sort_by([("query_id", "ascending"), ("score", "descending"), ("doc_id", "descending")])
    _refuse_duplicates(path, rows)
    return rows.drop_columns("line").append_column("rank", pa.array(ranks(rows)))


def ranks(rows: pa.Table) -> np.ndarray:
    """Return each row's rank within its query, from 1; rows must be grouped by query and in order."""
    import numpy as np

    starts = _starts(rows)
    lengths = np.diff(np.append(starts, rows.num_rows))
    numbers: np.ndarray = (np.arange(rows.num_rows) - np.repeat(starts, lengths) + 1).astype(np.int32)
    return numbers


def write_run(path: Path, run: Artifact, tag: str) -> None:
    """Write a RUN as a file, atomically.

    A line with a space in an id is separated by tabs; ``read_run`` reads it, but trec_eval cannot.
    """
    write_text(path, _lines(run, tag))


def _chunks(path: Path) -> Iterator[pa.Table]:
    """Yield rows in the order of the file, with their line numbers."""
    rows: list[tuple[str, str, float, int]] = []
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            if row := _row(path, number, line):
                rows.append(row)
            if len(rows) == _CHUNK_LINES:
                yield _table(rows)
                rows = []
    if rows:
        yield _table(rows)


def _row(path: Path, number: int, line: bytes) -> tuple[str, str, float, int] | None:
    columns = _columns(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
    if not columns:
        return None
    if len(columns) != 6:
        raise DataError(f"{path}:{number}: {_EXPECTED}, got {len(columns)}: {_shown(line)}")
    score = _number(columns[4])
    if math.isnan(score):
        raise DataError(f"{path}:{number}: the score, column 5, is not a number: {_shown(line)}")
    try:
        query_id, doc_id = columns[0].decode(), columns[2].decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: not UTF-8: {_shown(line)}") from error
    if problem := id_problem(query_id, "query_id") or id_problem(doc_id, "doc_id"):
        raise DataError(f"{path}:{number}: {problem}: {_shown(line)}")
    return query_id, doc_id, score, number


def _columns(line: bytes) -> list[bytes]:
    return line.rstrip(b"\r\n").split(b"\t") if line.count(b"\t") == 5 else line.split()


def _number(text: bytes) -> float:
    """Parse a score, which may be infinite; NaN if it is not a number."""
    return float(text) if _SCORE.fullmatch(text) else math.nan


def _shown(line: bytes) -> str:
    return repr(line.decode(errors="replace").strip()[:80])


def _table(rows: list[tuple[str, str, float, int]]) -> pa.Table:
    import pyarrow as pa

    query_ids, doc_ids, scores, numbers = zip(*rows, strict=True)
    return pa.table(
        {
            "query_id": pa.array(query_ids, pa.string()),
            "doc_id": pa.array(doc_ids, pa.string()),
            "score": pa.array(scores, pa.float64()).cast(pa.float32(), safe=False),
            "line": pa.array(numbers, pa.int64()),
        }
    )


def _starts(rows: pa.Table) -> np.ndarray:
    """Return the first row of each query."""
    import numpy as np
    import pyarrow.compute as pc

    ids = rows["query_id"].combine_chunks()
    changes = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.flatnonzero(changes) + 1]) if len(ids) else np.zeros(0, np.int64)


def _refuse_duplicates(path: Path, rows: pa.Table) -> None:
    import pyarrow.compute as pc

    starts = _starts(rows)
    doc_ids = rows["doc_id"].combine_chunks()
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), rows.num_rows], strict=True):
        listed = doc_ids[start:end]
        if pc.count_distinct(listed).as_py() == len(listed):
            continue
        counts = listed.value_counts()
        duplicate = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0]
        lines = rows["line"][start:end].filter(pc.equal(listed, duplicate)).to_pylist()
        first, second = sorted(lines)[:2]
        query_id = rows["query_id"][start].as_py()
        raise DataError(
            f"{path}:{second}: query {query_id!r} lists document {duplicate.as_py()!r} again, after line {first}; "
            "keep one"
        )


def _lines(run: Artifact, tag: str) -> Iterator[str]:
    """Yield the run's lines in batches; its shards are in the order of query_id."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shards = (rows.sort_by([("query_id", "ascending"), ("rank", "ascending")]) for rows in run.batches("run"))
    for batch in (batch for rows in shards for batch in rows.to_batches(max_chunksize=1 << 16)):
        columns = [batch.column("query_id"), "Q0", batch.column("doc_id")]
        columns += [pc.cast(batch.column(name), pa.string()) for name in ("rank", "score")]
        lines = pc.if_else(
            _has_space(batch),
            pc.binary_join_element_wise(*columns, tag, "\t"),
            pc.binary_join_element_wise(*columns, tag, " "),
        )
        yield "".join(f"{line}\n" for line in lines.to_pylist())


def _has_space(batch: pa.RecordBatch) -> pa.Array:
    import pyarrow.compute as pc

    return pc.or_(*(pc.match_substring(batch.column(name), " ") for name in ("query_id", "doc_id")))
