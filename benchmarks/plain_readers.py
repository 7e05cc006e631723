"""What files say, read line by line with Python's own parsers: the right answers for ``benchmarks.mutations``.

Written from the documented rules of each format, without gradret's code. A file that must be refused as a whole raises
``Refused``; a row that must be quarantined is None.
"""

from __future__ import annotations

import bz2
import gzip
import json
import math
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["Refused", "judgments", "labels", "parquet_labels", "parquet_table", "run", "table"]

Rows = list[tuple[int, Any]]

_NAMES = {
    "query": "query queryid qid topic topicid",
    "doc": "corpus corpusid doc docid docno document documentid passageid pid",
    "value": "score rel relevance grade label judgment judgement rating",
    "doc_key": "id docid docno documentid passageid corpusid pid",
    "title": "title heading headline",
    "text": "text contents content passage body document segment",
    "query_key": "id queryid qid topicid topic number",
    "question": "query text question querytext title",
}
_JUDGED = ["query", "doc", "value"]
_SPACES = " \t\n\r\v\f"


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The file cannot be read as it is."""


def table(path: Path, name: str) -> Rows:
    """Rows of docs, queries or qrels with their line numbers."""
    lines = _lines(path)
    if path.name.partition(".")[2].startswith("jsonl"):
        return [(number, _object(name, line)) for number, line in lines]
    header = None
    rows: Rows = []
    for place, (number, line) in enumerate(lines):
        text = _utf8(line)
        if place == 0 and (header := _header(name, _utf8(line, "ignore") or "")) and text is not None:
            continue
        rows.append((number, None if text is None else _fields(name, text, header)))
    return rows


def judgments(path: Path) -> dict[tuple[str, str], float]:
    """Judgments of a text file; the last of a pair counts."""
    return {(query, doc): value for _, query, doc, value in _values(path)}


def labels(path: Path) -> dict[tuple[str, str], float]:
    """Labels of a text or JSON lines file; each pair has one."""
    if path.name.partition(".")[2].startswith("jsonl"):
        rows = [_label(_whole_object(line)) for _, line in _lines(path)]
    else:
        rows = [row[1:] for row in _values(path)]
    return _once(rows)


def run(path: Path) -> list[tuple[str, str, int, float]]:
    """Query, document, rank and score of a run, as trec_eval orders it."""
    rows = [_run_row(line) for _, line in _lines(path)]
    if not rows or len({row[:2] for row in rows}) < len(rows):
        raise Refused
    rows.sort(key=lambda row: row[1].encode(), reverse=True)
    rows.sort(key=lambda row: row[2], reverse=True)
    rows.sort(key=lambda row: row[0].encode())
    ranks: dict[str, int] = {}
    ranked = []
    for query, doc, score in rows:
        ranks[query] = ranks.get(query, 0) + 1
        ranked.append((query, doc, ranks[query], score))
    return ranked


def parquet_table(data: bytes, name: str) -> Rows:
    """Rows of docs, queries or qrels in a Parquet file, with their numbers."""
    wanted = {"docs": ["_id", "text"], "queries": ["_id", "text"], "qrels": ["query-id", "corpus-id", "score"]}[name]
    records = _parquet(data, wanted, ["title"] if name == "docs" else [])
    return [(number, record and _record(name, record)) for number, record in enumerate(records, 1)]


def parquet_labels(data: bytes) -> dict[tuple[str, str], float]:
    """Labels in a Parquet file."""
    records = _parquet(data, ["query_id", "doc_id", "score"], [])
    if not all(records):
        raise Refused
    return _once([_label({**record, "score": _as_float(record["score"])}) for record in records if record])


# Lines


def _lines(path: Path) -> list[tuple[int, bytes]]:
    data = path.read_bytes()
    try:
        data = {".gz": gzip.decompress, ".bz2": _bunzip}.get(path.suffix, bytes)(data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Refused from error
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [(number, line.rstrip(b"\r")) for number, line in enumerate(lines, 1) if line.strip(_SPACES.encode())]


def _bunzip(data: bytes) -> bytes:
    if not data:
        raise EOFError
    return bz2.decompress(data)


def _utf8(line: bytes, errors: str = "strict") -> str | None:
    try:
        return line.decode("utf-8", errors)
    except UnicodeDecodeError:
        return None


def _split(text: str) -> list[str]:
    if "\t" in text:
        return text.split("\t")
    for space in _SPACES:
        text = text.replace(space, " ")
    return [column for column in text.split(" ") if column]


def _header(name: str, text: str) -> dict[str, int] | None:
    """The place of each field and, as ``columns``, the number of columns; None for a line that is no header."""
    columns = _split(text) if name == "qrels" else text.split("\t")
    plain = ["".join(char for char in column.lower() if char.isalnum()) for column in columns]
    fields = {"qrels": _JUDGED, "docs": ["doc_key", "text", "title"], "queries": ["query_key", "question"]}[name]
    places = {}
    for field in fields:
        names = _NAMES[field].split()
        found = [place for place, column in enumerate(plain) if column in names]
        if found:
            places[field] = found[0]
        elif field != "title":
            return None
    return {**places, "columns": len(columns)}


# Rows


def _fields(name: str, text: str, header: dict[str, int] | None) -> Any:
    columns = _split(text) if name == "qrels" else text.split("\t")
    if header:
        if len(columns) != header["columns"]:
            return None
        by_name = {field: columns[place] for field, place in header.items() if field != "columns"}
    else:
        by_name = _by_place(name, columns)
    if name == "docs":
        record = {"_id": by_name.get("doc_key"), "title": by_name.get("title"), "text": by_name.get("text")}
    elif name == "queries":
        record = {"_id": by_name.get("query_key"), "text": by_name.get("question")}
    else:
        record = {"query-id": by_name.get("query"), "corpus-id": by_name.get("doc"), "score": by_name.get("value")}
    return _record(name, record) if by_name else None


def _by_place(name: str, columns: list[str]) -> dict[str, str]:
    names = {
        ("docs", 2): "doc_key text", ("docs", 4): "doc_key url title text", ("queries", 2): "query_key question",
        ("qrels", 3): "query doc value", ("qrels", 4): "query iteration doc value",
    }.get((name, len(columns)), "")  # fmt: skip
    return dict(zip(names.split(), columns, strict=True)) if names else {}


def _object(name: str, line: bytes) -> Any:
    try:
        return _record(name, _whole_object(line))
    except Refused:
        return None


def _whole_object(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise Refused from error
    if not isinstance(found, dict):
        raise Refused
    return found


def _record(name: str, record: Mapping[str, Any]) -> Any:
    """A row as a tuple; None if it must be quarantined."""
    if name == "qrels":
        grade = _grade(record.get("score"))
        query, doc = record.get("query-id"), record.get("corpus-id")
        return (str(query), str(doc), grade) if _is_id(query) and _is_id(doc) and grade is not None else None
    texts = [_text(record.get(field)) for field in (("title", "text") if name == "docs" else ("text",))]
    if not _is_id(record.get("_id")) or None in texts or not "".join(map(str, texts)).strip():
        return None
    return (str(record["_id"]), *texts)


def _is_id(value: Any) -> bool:
    """A string or an integer, not empty, without line ends and other control characters."""
    if type(value) not in (str, int) or value == "":
        return False
    return not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and _is_control(char) for char in str(value))


def _is_control(char: str) -> bool:
    return char in "\x7f\x85\u2028\u2029" or char < " " or unicodedata.category(char) == "Cs"


def _text(value: Any) -> str | None:
    """A text, empty where there is none; None for what is no text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str) or any(unicodedata.category(char) == "Cs" for char in value):
        return None
    return value


def _grade(value: Any) -> int | None:
    """A whole number of at most 31 bits, which a text may write as ``1.0``."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        return None
    if isinstance(value, str) and not set(value.strip(" ")) <= set("+-.0123456789"):
        return None
    try:
        number = Decimal(value.strip(" ") if isinstance(value, str) else value)
    except (InvalidOperation, ValueError):
        return None
    if not number.is_finite() or abs(number) >= 1 << 31 or number != int(number):
        return None
    # Decimal reads ``.0`` too, which has no digit before the point.
    return int(number) if not isinstance(value, str) or value.strip(" +-")[0].isdigit() else None


def _values(path: Path) -> Iterator[tuple[int, str, str, float]]:
    header = None
    for place, (number, line) in enumerate(_lines(path)):
        text = _utf8(line)
        if text is None:
            raise Refused
        if place == 0 and (header := _header("qrels", text)):
            continue
        columns = _split(text)
        if header and len(columns) != header["columns"]:
            raise Refused
        by_name = {field: columns[header[field]] for field in _JUDGED} if header else _by_place("qrels", columns)
        if not by_name or not _is_id(by_name["query"]) or not _is_id(by_name["doc"]):
            raise Refused
        yield number, by_name["query"], by_name["doc"], _number(by_name["value"])


def _number(text: str) -> float:
    """A finite decimal number."""
    text = text.strip(" ")
    if not text or not set(text) <= set("+-.eE0123456789"):
        raise Refused
    return _finite(text)


def _finite(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise Refused from error
    if not math.isfinite(number):
        raise Refused
    return number


def _label(record: Mapping[str, Any]) -> tuple[str, str, float]:
    query, doc, score = (record.get(name) for name in ("query_id", "doc_id", "score"))
    if not _is_id(query) or not _is_id(doc) or type(score) not in (int, float):
        raise Refused
    return str(query), str(doc), _finite(score)


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _once(rows: list[tuple[str, str, float]]) -> dict[tuple[str, str], float]:
    with np.errstate(over="ignore"):
        by_pair = {(query, doc): float(np.float32(value)) for query, doc, value in rows}
    if not rows or len(by_pair) < len(rows) or not all(map(math.isfinite, by_pair.values())):
        raise Refused
    return by_pair


def _run_row(line: bytes) -> tuple[str, str, float]:
    columns = line.split(b"\t") if line.count(b"\t") == 5 else line.split()
    if len(columns) != 6:
        raise Refused
    query, doc = _utf8(columns[0]), _utf8(columns[2])
    text = columns[4].strip(b" ").lower()
    plain = set(text) <= set(b"+-.e0123456789") or text.lstrip(b"+-") in (b"inf", b"infinity")
    if not _is_id(query) or not _is_id(doc) or not plain:
        raise Refused
    try:
        with np.errstate(over="ignore"):
            return str(query), str(doc), float(np.float32(float(text)))
    except ValueError as error:
        raise Refused from error


# Parquet


def _parquet(data: bytes, needed: list[str], optional: list[str]) -> list[dict[str, Any] | None]:
    """The rows of the columns; None for a row that has no value in Python, such as text that is not UTF-8."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names
        if any(names.count(name) != 1 for name in needed) or any(names.count(name) > 1 for name in optional):
            raise Refused
        columns = [name for name in [*needed, *optional] if name in names]
        table = file.read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Refused from error
    values = [[_scalar(value) for value in table[name]] for name in columns]
    rows = zip(*values, strict=True)
    return [None if _BAD in row else dict(zip(columns, row, strict=True)) for row in rows]


_BAD = object()


def _scalar(value: Any) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        return _BAD
