"""Datasets: documents, human queries and judgments from somewhere.

A dataset is a frozen dataclass with ``split`` (the judgments to evaluate on), ``language`` (a
Snowball stemmer's name, or ``none``), ``exclude_same_ids`` and the three methods of ``Dataset``.
Its fields that say where the data lie are made by ``place``. To add one, write
``gradret/datasets/NAME.py`` with a dataclass called NAME; nothing else needs to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

from gradret.config.fields import location
from gradret.errors import ConfigError

__all__ = ["Bad", "Dataset", "Part", "Row", "check_language", "place", "read_settings"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Bad:
    """A row that cannot be used."""

    reason: str
    raw: str = ""


@dataclass(frozen=True)
class Part:
    """A piece of a source that one task reads: ``start`` to ``end``, or all of it where ``end`` is -1.

    They count bytes of a text file, as it is once unzipped, and rows of anything else.
    """

    path: str
    start: int = 0
    end: int = -1
    first_line: int = 1
    split: str = ""


class Dataset(Protocol):
    """What ingest and queries need of a dataset."""

    split: str
    language: str

    @property
    def exclude_same_ids(self) -> bool:
        """Whether a document with the query's own id is left out of what a search finds.

        Right where the queries are documents of the corpus, as in ArguAna and Quora; elsewhere equal
        ids are an accident.
        """

    def content(self, table: str) -> str:
        """A hash of all that ``parts(table)`` would read.

        Raises:
            DataError: a file is missing or unreadable.
        """

    def parts(self, table: str) -> list[Part]:
        """The pieces of ``table`` (``docs``, ``queries`` or ``qrels``), in order."""

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        """Line number and row, in order; a row holds strings and numbers.

        docs: doc_id, title, text. queries: query_id, text. qrels: query_id, doc_id, relevance, split,
        of the evaluated split and, where there are such, of ``train`` and ``dev``.
        """


def place(default: str = "") -> Any:
    """A field that says where the data lie: a path, an address, an id.

    No fingerprint depends on it: ``content`` says what lies there.
    """
    return location(default, place=True)


def read_settings(dataset: Dataset) -> dict[str, object]:
    """What of a dataset decides how its content is read, for a fingerprint beside ``content(table)``.

    Not where it lies, nor what says how it is evaluated (the split, the language, the same ids): who
    uses those names them.
    """
    options = {
        f.name: getattr(dataset, f.name)
        for f in fields(dataset)  # type: ignore[arg-type]
        if not f.metadata.get("place") and f.name not in {"split", "language", "exclude_same_ids"}
    }
    return {"class": type(dataset), **options}


def check_language(language: str) -> None:
    """Refuse a language that has no stemmer.

    Raises:
        ConfigError: the language is neither ``none`` nor one of Snowball's.
    """
    import Stemmer

    known = [*Stemmer.algorithms(), "none"]
    if language not in known:
        raise ConfigError(f"language {language!r} has no Snowball stemmer; use one of {', '.join(known)}")
