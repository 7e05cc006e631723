"""The embedded collection: the Python standard library's documentation, with judged queries."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gradret.datasets import Bad, Part, Row, check_language
from gradret.datasets._stdlib import documents, source_files
from gradret.errors import ConfigError, DataError
from gradret.store.fingerprint import hash_files

__all__ = ["DATA", "Pydocs"]

DATA = Path(__file__).parent / "data" / "pydocs"
_SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Pydocs:
    """Docstrings and language topics of the running interpreter, with 153 queries graded 0 to 3.

    A language model wrote the queries and judged them in two passes; if the grades differ, the lower one
    counts. The judgments were made on Python 3.11; other versions lack some of the documents, whose
    judgments are counted as judgments of unknown documents. See docs/embedded-dataset.md.
    """

    split: str = "test"
    """``test`` or ``dev``."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""
    exclude_same_ids: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise ConfigError(f"split: {self.split!r} is not one of {', '.join(_SPLITS)}")
        check_language(self.language)

    def content(self, table: str) -> str:
        if table != "docs":
            return hash_files([_file(table)])
        files = source_files()
        if not files:
            raise DataError("dataset pydocs: this interpreter has no source files of its standard library")
        return hash_files(files)

    def parts(self, table: str) -> list[Part]:
        return [Part("standard library" if table == "docs" else str(_file(table)))]

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        rows = {"docs": documents, "queries": _queries, "qrels": self._judgments}[table]
        yield from enumerate(rows(), 1)

    def _judgments(self) -> Iterator[Row]:
        return (row for row in _judgments() if row["split"] in {self.split, "dev"})


def _file(table: str) -> Path:
    return DATA / {"queries": "queries.jsonl", "qrels": "qrels.tsv"}[table]


def _queries() -> Iterator[Row]:
    with _file("queries").open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield {"query_id": record["_id"], "text": record["text"]}


def _judgments() -> Iterator[Row]:
    with _file("qrels").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield {
                "query_id": row["query-id"],
                "doc_id": row["corpus-id"],
                "relevance": min(int(row["first"]), int(row["second"])),
                "split": row["split"],
            }
