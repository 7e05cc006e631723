"""A BEIR folder: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/SPLIT.tsv``."""

from __future__ import annotations

import codecs
import json
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradret.datasets import Bad, Part, Row, check_language
from gradret.errors import ConfigError, DataError
from gradret.fingerprint import hash_files

__all__ = ["Beir"]

_PART_BYTES = 4 << 20
# An id is a line of its own in some files; Unicode's line ends count.
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FILES = {"docs": "corpus.jsonl", "queries": "queries.jsonl"}


@dataclass(frozen=True)
class Beir:
    """A folder in the layout of BEIR.

    Source: Thakur et al., BEIR (NeurIPS 2021), whose loader reads the same files.
    """

    path: str = ""
    """The folder."""
    split: str = "test"
    """Judgments to evaluate on: ``qrels/SPLIT.tsv``."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("path: is required: a folder with corpus.jsonl, queries.jsonl and qrels/")
        check_language(self.language)

    def content(self, table: str) -> str:
        try:
            return hash_files(self._files(table))
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error

    def parts(self, table: str) -> list[Part]:
        if table == "qrels":
            return [Part(str(path), split=path.stem) for path in self._files(table)]
        return [part for path in self._files(table) for part in _split(path)]

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        row = {"docs": _doc, "queries": _query}.get(table)
        for number, line in _lines(part):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - a mark, not text
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                yield number, Bad("not UTF-8", repr(line[max(0, error.start - 40) : error.start + 40]))
                continue
            if row:
                yield number, row(text)
            elif not (number == 1 and _is_header(text)):
                yield number, _judgment(text, part.split)

    def _files(self, table: str) -> list[Path]:
        # Absolute: a worker of a cluster has a working folder of its own.
        folder = Path(self.path).absolute()
        if not folder.is_dir():
            raise DataError(f"dataset.path: no folder at {folder}")
        if table == "qrels":
            names = [name for name in ("train", "dev") if name != self.split]
            others = [folder / "qrels" / f"{name}.tsv" for name in names]
            paths = [folder / "qrels" / f"{self.split}.tsv", *(path for path in others if path.exists())]
        else:
            paths = [folder / _FILES[table]]
        for path in paths:
            if not path.is_file():
                have = ", ".join(sorted(found.stem for found in (folder / "qrels").glob("*.tsv"))) or "none"
                hint = f"; dataset.split has files for: {have}" if table == "qrels" else ""
                raise DataError(f"{path}: no such file; a BEIR folder has {path.relative_to(folder)}{hint}")
        return paths


def _split(path: Path) -> list[Part]:
    """Pieces of about ``_PART_BYTES`` that end at line ends; every piece knows its first line's number.

    An empty file is one empty piece.
    """
    parts, start, line, position, first = [], 0, 1, 0, 1
    with path.open("rb") as file:
        while block := file.read(_PART_BYTES):
            end = block.rfind(b"\n")
            if end >= 0:
                line += block.count(b"\n")
                parts.append(Part(str(path), start, position + end + 1, first))
                start, first = position + end + 1, line
            position += len(block)
    if position > start or not parts:
        parts.append(Part(str(path), start, position, first))
    return parts


def _lines(part: Part) -> Iterator[tuple[int, bytes]]:
    with Path(part.path).open("rb") as file:
        file.seek(part.start)
        number, position = part.first_line, part.start
        while part.end < 0 or position < part.end:
            line = file.readline()
            if not line:
                return
            yield number, line
            number, position = number + 1, position + len(line)


def _record(text: str) -> dict[str, object] | Bad:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Bad("broken JSON", f"{error}: {text[:200]}")
    reason = _wrong(record)
    return Bad(reason, text[:200]) if reason else typing.cast("dict[str, object]", record)


def _wrong(record: object) -> str:
    """Why no row can be made of a JSON value; empty where one can."""
    if not isinstance(record, dict):
        return "not a JSON object"
    key, texts = record.get("_id"), [record.get("title") or "", record.get("text") or ""]
    if not isinstance(key, (str, int)) or isinstance(key, bool) or key == "":
        return "no _id"
    if _CONTROL.search(str(key)):
        return "_id with a line break or another control character"
    if not all(isinstance(text, str) for text in texts):
        return "title or text is not a string"
    return "half a surrogate pair in the text" if any(_SURROGATE.search(text) for text in texts) else ""


def _doc(text: str) -> Row | Bad:
    record = _record(text)
    if isinstance(record, Bad):
        return record
    title, body = str(record.get("title") or ""), str(record.get("text") or "")
    if not title.strip() and not body.strip():
        return Bad("empty title and text", text[:200])
    return {"doc_id": str(record["_id"]), "title": title, "text": body}


def _query(text: str) -> Row | Bad:
    record = _record(text)
    if isinstance(record, Bad):
        return record
    if not str(record.get("text") or "").strip():
        return Bad("empty text", text[:200])
    return {"query_id": str(record["_id"]), "text": str(record["text"])}


def _is_header(text: str) -> bool:
    return not any(char.isdigit() for char in text.rpartition("\t")[2])


def _judgment(text: str, split: str) -> Row | Bad:
    columns = text.rstrip("\r\n").split("\t")
    if len(columns) != 3:
        return Bad("expected three columns separated by tabs", text[:200])
    try:
        relevance = int(columns[2])
    except ValueError:
        return Bad("the grade is not a whole number", text[:200])
    if abs(relevance) >= 1 << 31:
        return Bad("the grade is out of range", text[:200])
    return {"query_id": columns[0], "doc_id": columns[1], "relevance": relevance, "split": split}
