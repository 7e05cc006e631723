"""Give a mutated file to gradret's real readers, and compare with ``benchmarks.plain_readers``.

The verdict is ``fine`` (accepted, and every row and value is right), ``refused`` (one of gradret's errors, where the
file must be refused), or what is wrong.
"""

from __future__ import annotations

import math
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import plain_config, plain_readers
from benchmarks.mutants import Case
from benchmarks.plain_readers import Refused

__all__ = ["FINE", "REFUSED", "compared", "verdict"]

FINE, REFUSED = "fine", "refused"
_TABLES = {"corpus": "docs", "queries": "queries", "qrels": "qrels"}
_PLACEHOLDERS = {"docs": "c.tsv", "queries": "q.tsv", "test": "t.tsv"}
_LONGEST = 2000


def verdict(case: Case) -> str:
    """``fine``, ``refused``, or a sentence that begins with ``wrong`` or ``traceback``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / case.name
        path.write_bytes(case.data)
        if case.kind == "config":
            return plain_config.verdict(path, case.overrides)
        read, plain = _readers(case, path, folder)
        return compared(_outcome(read), _outcome(plain))


def _outcome(read: Callable[[], Any]) -> Any:
    """What was read, the error that refused it, or the text of another exception."""
    from gradret.errors import GradretError

    try:
        return read()
    except (GradretError, Refused) as error:
        return error
    except Exception:
        return f"traceback: {traceback.format_exc(limit=-3)}"


def compared(found: Any, expected: Any) -> str:
    """The verdict on what gradret's reader and the plain one give: rows, an error, or a traceback's text."""
    if isinstance(found, str):
        return found
    if isinstance(expected, str):
        return f"wrong: the plain reader fails: {expected}"
    if isinstance(found, Exception):
        if not isinstance(expected, Refused):
            return f"wrong: refused what can be read: {found}"
        return REFUSED if len(str(found).splitlines()) == 1 and len(str(found)) < _LONGEST else f"wrong: says {found}"
    if isinstance(expected, Refused):
        return f"wrong: accepted what must be refused: {str(found)[:_LONGEST]}"
    return FINE if found == expected else f"wrong: {_difference(found, expected)}"


def _difference(found: Any, expected: Any) -> str:
    if isinstance(found, dict):
        found, expected = sorted(found.items()), sorted(expected.items())
    pairs = [pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]]
    first = f"{pairs[0][0]!r}, expected {pairs[0][1]!r}" if pairs else "a row too many or too few"
    return f"{len(found)} rows, expected {len(expected)}; {first}"[:_LONGEST]


def _readers(case: Case, path: Path, folder: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Gradret's reader of the file, and the plain one."""
    table = case.table or _TABLES.get(case.kind, "")
    if table == "labels" or case.kind == "labels":
        plain = plain_readers.parquet_labels if table else plain_readers.labels
        return lambda: _labels(path, folder), lambda: plain(case.data if table else path)
    if table:
        if case.kind == "parquet":
            return lambda: _rows(path, table), lambda: plain_readers.parquet_table(case.data, table)
        return lambda: _rows(path, table), lambda: plain_readers.table(path, table)
    if case.kind == "runs":
        return lambda: _run(path), lambda: plain_readers.run(path)
    return lambda: _judgments(path), lambda: plain_readers.judgments(path)


def _rows(path: Path, table: str) -> list[tuple[int, Any]]:
    """Rows as the stages ingest and queries read them; None for a quarantined one, which must have a reason."""
    from gradret.datasets.files import Files
    from gradret.stages.ingest import read_part

    field = {"docs": "docs", "queries": "queries", "qrels": "test"}[table]
    dataset = Files(**(_PLACEHOLDERS | {field: path.name}), path=str(path.parent))
    rows: list[tuple[int, Any]] = []
    for part in dataset.parts(table):
        good, bad = read_part(dataset, table, part)
        rows += [(int(where.rpartition(":")[2]), _tuple(row)) for where, row in good]
        if not all(row.reason for row in bad):
            raise AssertionError("a quarantined row without a reason")
        rows += [(int(row.where.rpartition(":")[2]), None) for row in bad]
    return sorted(rows, key=lambda row: row[0])


def _tuple(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value for name, value in row.items() if name != "split")


def _labels(path: Path, folder: Path) -> dict[tuple[str, str], float]:
    from gradret.config.run import Config
    from gradret.datasets.pydocs import Pydocs
    from gradret.teachers.file import File

    config = Config(name="toy", dataset=Pydocs(), storage_path=str(folder / "storage"))
    made: Any = File(str(path)).prepare(config, None, None)["file"]  # type: ignore[arg-type]
    rows = made.table("labels").to_pylist()
    found = {(row["query_id"], row["doc_id"]): row["score"] for row in rows}
    if len(found) != len(rows) or made.counts["rows_out"] != len(rows):
        raise AssertionError("the counts do not add up")
    return found


def _run(path: Path) -> list[tuple[str, str, int, float]]:
    from gradret.search.trec import read_run

    rows = read_run(path).select(["query_id", "doc_id", "rank", "score"]).to_pylist()
    return [tuple(row.values()) for row in rows]


def _judgments(path: Path) -> dict[tuple[str, str], float]:
    from gradret.judgments import read_qrels

    found = read_qrels(path)
    if not all(math.isfinite(value) for value in found.values()):
        raise AssertionError("a value is not finite")
    return found
