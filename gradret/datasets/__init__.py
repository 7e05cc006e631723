"""Datasets read documents, human queries and judgments.

A dataset is a frozen dataclass with ``split`` (the judgments to evaluate on), ``language`` (a
Snowball stemmer's name, or ``none``), ``exclude_same_ids`` and the three methods of ``Dataset``.
Declare fields that say where the data are (paths, URLs, ids) with ``place``. To add a dataset, write
``gradret/datasets/NAME.py`` with a dataclass called NAME; nothing else has to change.
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
    """A row that cannot be used, with the reason and the start of its raw text."""

    reason: str
    raw: str = ""


@dataclass(frozen=True)
class Part:
    """The part of a source that one task reads, from ``start`` to ``end``; -1 is the end of the source.

    Offsets count bytes of a text file, after decompression, and rows of other sources.
    """

    path: str
    start: int = 0
    end: int = -1
    first_line: int = 1
    split: str = ""


class Dataset(Protocol):
    """The interface that the stages ``ingest`` and ``queries`` use."""

    split: str
    language: str

    @property
    def exclude_same_ids(self) -> bool:
        """Whether to remove a document from a query's results if it has the query's id.

        Set it if the queries are documents of the corpus, as in ArguAna and Quora; otherwise equal ids
        are a coincidence.
        """

    def content(self, table: str) -> str:
        """Return a hash of everything that ``parts(table)`` covers.

        Raises:
            DataError: a file is missing or unreadable.
        """

    def parts(self, table: str) -> list[Part]:
        """Return the parts of ``table`` (``docs``, ``queries`` or ``qrels``), in order.

        A dataset that has documents alone has no parts of the other tables.
        """

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        """Yield line numbers and rows, in order; a row has strings and numbers.

        docs: doc_id, title, text. queries: query_id, text. qrels: query_id, doc_id, relevance, split,
        for the evaluated split and, if they exist, ``train`` and ``dev``.
        """


def place(default: str = "") -> Any:
    """Declare a field that says where the data are: a path, a URL or an id.

    It does not enter fingerprints; the hash that ``content`` returns does.
    """
    return location(default, place=True)


def read_settings(dataset: Dataset) -> dict[str, object]:
    """Return the settings that decide how content is read, for a fingerprint next to ``content(table)``.

    Leaves out where the data are, and how they are evaluated (split, language, exclude_same_ids): stages
    that use those add them to their own fingerprint.
    """
    options = {
        f.name: getattr(dataset, f.name)
        for f in fields(dataset)  # type: ignore[arg-type]
        if not f.metadata.get("place") and f.name not in {"split", "language", "exclude_same_ids"}
    }
    return {"class": type(dataset), **options}


def check_language(language: str) -> None:
    """Check that the language has a stemmer.

    Raises:
        ConfigError: the language is neither ``none`` nor one of Snowball's.
    """
    import Stemmer

    known = [*Stemmer.algorithms(), "none"]
    if language not in known:
        raise ConfigError(f"language {language!r} has no Snowball stemmer; use one of {', '.join(known)} (no stemming)")
