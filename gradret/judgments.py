"""What a line of judgments says: TREC's four columns, BEIR's three, or those that a header names.

Tabs separate the columns; where there is none, blanks do. A header is known by its words, never by a value that is
no number: that is a broken line.
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
    "Header",
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
_BLANKS = " \t\n\r\v\f"  # no others: an id may contain a no-break or an ideographic space
# Some files have one id per line, so an id must not contain a line end, Unicode's included.
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

_QUERY = ["query", "queryid", "qid", "topic", "topicid"]
_DOC = ["corpus", "corpusid", "doc", "docid", "docno", "document", "documentid", "passageid", "pid"]
_VALUE = ["score", "rel", "relevance", "grade", "label", "judgment", "judgement", "rating"]
EXPECTED = "'query_id iteration doc_id {value}' or, with tabs between, 'query_id doc_id {value}'"


@dataclass(frozen=True)
class Header:
    """Where a file's first line says that its fields stand."""

    places: tuple[int, ...]
    """Of each field that was looked for, in their order; -1 where the file lacks it."""
    columns: int
    """How many a line must have."""

    def fields(self, columns: Sequence[str]) -> list[str] | None:
        """The fields of a line, an empty text for one that the file lacks; None where the line has other columns."""
        if len(columns) != self.columns:
            return None
        return [columns[place] if place >= 0 else "" for place in self.places]


def find_header(columns: Sequence[str], wanted: Sequence[Sequence[str]], needed: int | None = None) -> Header | None:
    """The header that a line is, or None.

    Args:
        columns: of the file's first line.
        wanted: for each field, the names it may have; case and all but letters and digits do not count.
        needed: how many of the fields, from the first on, a header must have; all if not given.
    """
    names = [re.sub(r"[\W_]", "", column.lower()) for column in columns]
    spelled = [[re.sub(r"[\W_]", "", name.lower()) for name in field] for field in wanted]
    places = [next((place for place, name in enumerate(names) if name in field), -1) for field in spelled]
    found = all(place >= 0 for place in places[:needed])
    return Header(tuple(places), len(columns)) if found else None


def judgment_header(columns: Sequence[str], more: Sequence[str] = ()) -> Header | None:
    """The header of a file of judgments; ``more`` are the file's own names of query, document and value."""
    own = [[name] for name in more] or [[], [], []]
    return find_header(columns, [[*_QUERY, *own[0]], [*_DOC, *own[1]], [*_VALUE, *own[2]]])


def split_columns(line: str) -> list[str]:
    """The columns of a line: between tabs if it has one, else between blanks, as C's ``isspace`` knows them."""
    return line.split("\t") if "\t" in line else re.findall(f"[^{_BLANKS}]+", line)


def judgment_fields(columns: Sequence[str], header: Header | None) -> Sequence[str] | None:
    """Query, document and value of a line; None if it has not the columns that it must have."""
    if header:
        return header.fields(columns)
    return [columns[0], columns[-2], columns[-1]] if len(columns) in (3, 4) else None


def read_values(path: Path, value: str = "relevance") -> Iterator[tuple[int, str, str, float]]:
    """Line number, query_id, doc_id and value of each line of a text file.

    Args:
        path: the file, compressed or not.
        value: what the value is called in messages.

    Raises:
        DataError: the file cannot be read, or a line has not three or four columns or no number as its value.
    """
    header = None
    for place, (line_number, line) in enumerate(lines(path)):
        columns = split_columns(line)
        if not place and (header := judgment_header(columns)):
            continue
        fields = judgment_fields(columns, header)
        found = number(fields[2]) if fields else None
        expected = f"the header's {header.columns} columns" if header else EXPECTED.format(value=value)
        if not fields or found is None:
            raise DataError(f"{path}:{line_number}: expected {expected}, got {line.strip()[:80]!r}")
        if problem := id_problem(fields[0], "query_id") or id_problem(fields[1], "doc_id"):
            raise DataError(f"{path}:{line_number}: {problem}; expected {expected}, got {line.strip()[:80]!r}")
        yield line_number, fields[0], fields[1], found


def read_qrels(path: str | Path) -> dict[tuple[str, str], float]:
    """Relevance by (query_id, doc_id), which may be a fraction; of two judgments of a pair the last counts.

    Raises:
        DataError: as ``read_values``.
    """
    judgments: dict[tuple[str, str], float] = {}
    changed = set()
    for _, query_id, doc_id, relevance in read_values(Path(path)):
        if judgments.get((query_id, doc_id), relevance) != relevance:
            changed.add((query_id, doc_id))
        judgments[query_id, doc_id] = relevance
    if changed:
        say(f"{path}: {len(changed):,} pairs are judged twice, with different grades; the last judgment counts")
    return judgments


def number(text: str) -> float | None:
    """A finite decimal number; None for anything else, other spellings that Python reads included."""
    value = float(text) if _NUMBER.fullmatch(text.strip(" ")) else math.nan
    return value if math.isfinite(value) else None


def whole_number(value: object) -> int | None:
    """A grade as an int, where it is one: ``1``, ``1.0`` and ``"1.0"`` are, ``True``, ``"1_0"`` and NaN are not.

    Raises:
        OverflowError: it has more than 31 bits.
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
    """Why ``key`` cannot be an id, which is called ``name`` in its file; empty if it can."""
    if not isinstance(key, (str, int)) or isinstance(key, bool) or key == "":
        return f"no {name}"
    return f"{name} with a line break or another control character" if _CONTROL.search(str(key)) else ""


def is_missing(value: object) -> bool:
    """Whether a value is none at all, as tools write that: null, NaN, or nothing."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
