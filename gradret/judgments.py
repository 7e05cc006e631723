"""Parse lines of judgments: TREC's four columns, BEIR's three, or the columns named by a header.

Columns are separated by tabs; in a line without tabs, by other whitespace. A header is recognised by its column names;
a line whose value is not a number is not a header, but invalid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from gradret.compressed import lines
from gradret.errors import DataError
from gradret.progress import say

__all__ = [
    "DOC_ID",
    "QUERY_ID",
    "RELEVANCE",
    "Header",
    "bare",
    "find_header",
    "id_problem",
    "is_missing",
    "judgment_fields",
    "judgment_header",
    "number",
    "read_qrels",
    "read_values",
    "split_columns",
    "whole_number",
]

_LARGEST = (1 << 31) - 1
_BLANKS = " \t\n\r\v\f"  # not all of Unicode: an id may contain a no-break or an ideographic space
# Some files have one id per line, so an id must not contain a line end, Unicode's included.
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

QUERY_ID = ["query", "queryid", "qid", "topic", "topicid"]
DOC_ID = ["corpus", "corpusid", "doc", "docid", "docno", "document", "documentid", "passageid", "pid"]
RELEVANCE = ["score", "rel", "relevance", "grade", "label", "judgment", "judgement", "rating"]
EXPECTED = "'query_id iteration doc_id {value}' or, separated by tabs, 'query_id doc_id {value}'"


@dataclass(frozen=True)
class Header:
    """The positions of the fields according to a file's first line."""

    positions: tuple[int, ...]
    """Column index of each field, in the order given to ``find_header``; -1 if the file lacks it."""
    columns: int
    """Number of columns that every line must have."""

    def fields(self, columns: Sequence[str]) -> list[str] | None:
        """Return a line's fields, empty if the file lacks one; None if the line has another number of columns."""
        if len(columns) != self.columns:
            return None
        return [columns[position] if position >= 0 else "" for position in self.positions]


def find_header(columns: Sequence[str], wanted: Sequence[Sequence[str]], needed: int | None = None) -> Header | None:
    """Return the header if a file's first line is one, else None.

    Args:
        columns: the columns of the first line.
        wanted: the accepted names of each field; case, and all characters but letters and digits, are ignored.
        needed: how many of the first fields a header must have; by default all.
    """
    names = [bare(column) for column in columns]
    spelled = [[bare(name) for name in field] for field in wanted]
    positions = [next((position for position, name in enumerate(names) if name in field), -1) for field in spelled]
    complete = all(position >= 0 for position in positions[:needed])
    return Header(tuple(positions), len(columns)) if complete else None


def bare(name: str) -> str:
    """Return a column's name in lower case, with letters and digits alone."""
    return re.sub(r"[\W_]", "", name.lower())


def judgment_header(columns: Sequence[str], more: Sequence[str] = ()) -> Header | None:
    """Return the header of a file of judgments; ``more`` are additional names of query, document and value."""
    extra = [[name] for name in more] or [[], [], []]
    return find_header(columns, [[*QUERY_ID, *extra[0]], [*DOC_ID, *extra[1]], [*RELEVANCE, *extra[2]]])


def split_columns(line: str) -> list[str]:
    """Split a line at tabs, or if it has none, at whitespace as defined by C's ``isspace``."""
    return line.split("\t") if "\t" in line else re.findall(f"[^{_BLANKS}]+", line)


def judgment_fields(columns: Sequence[str], header: Header | None) -> Sequence[str] | None:
    """Return query, document and value of a line; None if its number of columns is wrong."""
    if header:
        return header.fields(columns)
    return [columns[0], columns[-2], columns[-1]] if len(columns) in (3, 4) else None


def read_values(path: Path, value: str = "relevance") -> Iterator[tuple[int, str, str, float]]:
    """Yield line number, query_id, doc_id and value of each line of a text file.

    Args:
        path: the file, compressed or not.
        value: name of the value in messages.

    Raises:
        DataError: the file cannot be read, a line does not have three or four columns, or its value is no number.
    """
    header = None
    for index, (line_number, line) in enumerate(lines(path)):
        columns = split_columns(line)
        if not index and (header := judgment_header(columns)):
            continue
        fields = judgment_fields(columns, header)
        parsed = number(fields[2]) if fields else None
        expected = f"the header's {header.columns} columns" if header else EXPECTED.format(value=value)
        if not fields or parsed is None:
            raise DataError(f"{path}:{line_number}: expected {expected}, got {line.strip()[:80]!r}")
        if problem := id_problem(fields[0], "query_id") or id_problem(fields[1], "doc_id"):
            raise DataError(f"{path}:{line_number}: {problem}; expected {expected}, got {line.strip()[:80]!r}")
        yield line_number, fields[0], fields[1], parsed


def read_qrels(path: str | Path) -> dict[tuple[str, str], float]:
    """Return relevance, which may be fractional, by (query_id, doc_id); the last judgment of a pair counts.

    Raises:
        DataError: raised by ``read_values``.
    """
    judgments: dict[tuple[str, str], float] = {}
    changed = set()
    for _, query_id, doc_id, relevance in read_values(Path(path)):
        if judgments.get((query_id, doc_id), relevance) != relevance:
            changed.add((query_id, doc_id))
        judgments[query_id, doc_id] = relevance
    if changed:
        say(
            f"{path}: {len(changed):,} pairs are judged twice, with different grades; the last judgment counts",
            "warning",
        )
    return judgments


def number(text: str) -> float | None:
    """Parse a finite decimal number; None for anything else, including other spellings that Python accepts."""
    value = float(text) if _NUMBER.fullmatch(text.strip(" ")) else math.nan
    return value if math.isfinite(value) else None


def whole_number(value: object) -> int | None:
    """Return a grade as an int: ``1``, ``1.0`` and ``"1.0"`` are grades; for ``True``, ``"1_0"`` or NaN, return None.

    Raises:
        OverflowError: the grade has more than 31 bits.
    """
    if isinstance(value, str):
        whole = int(Decimal(value.strip(" "))) if _WHOLE.fullmatch(value.strip(" ")) else None
    elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        whole = int(value) if math.isfinite(value) and value == int(value) else None
    else:
        whole = None
    if whole is not None and abs(whole) > _LARGEST:
        raise OverflowError(f"{value} has more than 31 bits")
    return whole


def id_problem(key: object, name: str) -> str:
    """Return why ``key`` cannot be an id, which its file calls ``name``; empty if it can."""
    if not isinstance(key, (str, int)) or isinstance(key, bool) or key == "":
        return f"no {name}"
    return f"{name} with a line break or another control character" if _CONTROL.search(str(key)) else ""


def is_missing(value: object) -> bool:
    """Return whether a value is missing, in one of the forms that tools write: null, NaN or empty."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
