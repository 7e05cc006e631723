"""Validate rows, whatever file or library they come from.

An id is a string or an integer without control characters. A document has a title or a text, a query
has a text. A grade is an integer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gradret.datasets import Bad, Row
from gradret.judgments import (
    DOC_ID,
    QUERY_ID,
    RELEVANCE,
    Header,
    bare,
    find_header,
    id_problem,
    is_missing,
    judgment_fields,
    judgment_header,
    split_columns,
    whole_number,
)

__all__ = ["Columns", "doc", "from_fields", "judgment", "query"]

_DOC_ID = ["id", "_id", "doc_id", "doc_no", "document_id", "passage_id", "corpus_id", "pid"]
_TITLE = ["title", "heading", "headline"]
_TEXT = ["text", "contents", "content", "passage", "body", "document", "segment"]
_QUERY_ID = ["id", "_id", "query_id", "qid", "topic_id", "topic", "number"]
_QUERY = ["query", "text", "question", "query_text", "title"]
_SPELLINGS = {
    "docs": {"doc_id": _DOC_ID, "title": _TITLE, "text": _TEXT},
    "queries": {"query_id": _QUERY_ID, "query": _QUERY},
    "qrels": {"judged_query_id": QUERY_ID, "judged_doc_id": DOC_ID, "relevance": RELEVANCE},
}
"""Usual names of the columns of each table, the most usual first."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns or of a JSON object's keys; by default BEIR's or other usual ones, such as ``id``."""

    doc_id: str = "_id"
    """A document's id."""
    title: str = "title"
    """A document's title; the column may be missing."""
    text: str = "text"
    """A document's text."""
    query_id: str = "_id"
    """A query's id."""
    query: str = "text"
    """A query's text."""
    judged_query_id: str = "query-id"
    """A judgment's query id."""
    judged_doc_id: str = "corpus-id"
    """A judgment's document id."""
    relevance: str = "score"
    """A judgment's grade, an integer."""

    def of(self, table: str) -> list[str]:
        """Return the columns of ``table``."""
        return {
            "docs": [self.doc_id, self.title, self.text],
            "queries": [self.query_id, self.query],
            "qrels": [self.judged_query_id, self.judged_doc_id, self.relevance],
        }[table]

    def spelled(self, table: str, have: Sequence[str]) -> Columns:
        """Return the columns with usual spellings, such as ``id`` and ``body``, for those that ``have`` lacks."""
        by_bare = {bare(name): name for name in reversed(have)}
        chosen = {
            field: next((by_bare[bare(name)] for name in spellings if bare(name) in by_bare), getattr(self, field))
            for field, spellings in _SPELLINGS[table].items()
            if getattr(self, field) not in have
        }
        return replace(self, **chosen)

    def header(self, table: str, line: str) -> Header | None:
        """Parse a file's first line as a header; None if it is not one."""
        names = self.of(table)
        if table == "qrels":
            return judgment_header(split_columns(line), names)
        columns = line.split("\t")
        if table == "docs":
            spellings = [[*_DOC_ID, names[0]], [*_TEXT, names[2]], [*_TITLE, names[1]]]
            return find_header(columns, spellings, needed=2)
        return find_header(columns, [[*_QUERY_ID, names[0]], [*_QUERY, names[1]]])

    def row(self, table: str, record: Mapping[str, object], raw: str, split: str) -> Row | Bad:
        """Build a row of ``table`` from a record."""
        get = record.get
        if table == "docs":
            return doc(get(self.doc_id), get(self.title), get(self.text), raw, id_name=self.doc_id)
        if table == "queries":
            return query(get(self.query_id), get(self.query), raw, id_name=self.query_id)
        return judgment(get(self.judged_query_id), get(self.judged_doc_id), get(self.relevance), split, raw)


def doc(key: object, title: object, text: object, raw: str, *, id_name: str = "id") -> Row | Bad:
    """Build a document; ``id_name`` is the source's name of the id, for the reason of a Bad row."""
    title, text = ("" if is_missing(value) else value for value in (title, text))
    reason = _problem(key, id_name, title, text)
    if not reason and not str(title).strip() and not str(text).strip():
        reason = "empty title and text"
    return Bad(reason, raw) if reason else {"doc_id": str(key), "title": title, "text": text}


def query(key: object, text: object, raw: str, *, id_name: str = "id") -> Row | Bad:
    """Build a query; ``id_name`` is the source's name of the id, for the reason of a Bad row."""
    text = "" if is_missing(text) else text
    reason = _problem(key, id_name, text)
    if not reason and not str(text).strip():
        reason = "empty text"
    return Bad(reason, raw) if reason else {"query_id": str(key), "text": text}


def judgment(query_id: object, doc_id: object, grade: object, split: str, raw: str) -> Row | Bad:
    """Build a judgment of split ``split``."""
    reason = id_problem(query_id, "query_id") or id_problem(doc_id, "doc_id")
    if reason:
        return Bad(reason, raw)
    try:
        relevance = whole_number(grade)
    except OverflowError:
        return Bad("the grade is out of range", raw)
    if relevance is None:
        return Bad("the grade is not a whole number", raw)
    return {"query_id": str(query_id), "doc_id": str(doc_id), "relevance": relevance, "split": split}


def from_fields(table: str, line: str, split: str, header: Header | None = None) -> Row | Bad:
    """Build a row of ``table`` from a line.

    Without a header, docs have an id and a text, or an id, url, title and text, as MS MARCO's passages and
    documents, and queries have an id and a text, separated by tabs. qrels have a query, a document and a grade,
    or TREC's query, iteration, document and grade, separated by tabs or, if there is no tab, by whitespace.
    """
    raw = line[:200]
    columns = split_columns(line) if table == "qrels" else line.split("\t")
    fields = header.fields(columns) if header else _fields(table, columns)
    if fields is None:
        return Bad(f"expected {f'the {header.columns} columns of the header' if header else _EXPECTED[table]}", raw)
    if table == "docs":
        return doc(fields[0], fields[2], fields[1], raw)
    if table == "queries":
        return query(fields[0], fields[1], raw)
    return judgment(fields[0], fields[1], fields[2], split, raw)


def _fields(table: str, columns: Sequence[str]) -> Sequence[str] | None:
    """Order the fields of a line without header: id, text and title, or id and text, or a judgment's three."""
    match table, len(columns):
        case "docs", 2:
            return [columns[0], columns[1], ""]
        case "docs", 4:
            return [columns[0], columns[3], columns[2]]
        case "queries", 2:
            return columns
        case "qrels", _:
            return judgment_fields(columns, None)
    return None


_EXPECTED = {
    "docs": "an id and a text, or an id, a url, a title and a text, separated by tabs",
    "queries": "an id and a text, separated by a tab",
    "qrels": "a query, a document and a grade, or TREC's four columns",
}


def _problem(key: object, id_name: str, *texts: object) -> str:
    """Return why an id or a text cannot be used; empty if they can."""
    if problem := id_problem(key, id_name):
        return problem
    if not all(isinstance(text, str) for text in texts):
        return "the title or text is not a string"
    return "an unpaired surrogate in the text" if any(_SURROGATE.search(str(text)) for text in texts) else ""
