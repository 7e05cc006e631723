"""Datasets from ir_datasets, by id."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradret.components import unknown
from gradret.datasets import Bad, Part, Row, _rows, check_language, place
from gradret.errors import ConfigError, DataError

__all__ = ["Irds"]

_SPLITS = ("test", "dev", "train")
_PART_DOCS = 10_000


@dataclass(frozen=True)
class Irds:
    """Datasets from ir_datasets: one id per split; documents are those of the evaluated split.

        {name: irds, test: beir/scifact/test, train: beir/scifact/train}

    ir_datasets downloads an id's files, verifies them against its checksums and keeps them in
    ``IR_DATASETS_HOME``, which all nodes of a cluster must share. The fingerprint therefore has only the id
    and the version of ir_datasets; it does not notice files that were put there by hand. The first use
    copies the documents into ir_datasets' own store, from which they are read in parts.

    A document's title is its field ``title``; its text is ``text``, ``body`` or else ir_datasets' default
    text.

    Source: MacAvaney et al., Simplified Data Wrangling with ir_datasets (SIGIR 2021).
    """

    test: str = place()
    """Id of split ``test``: queries, judgments and documents."""
    dev: str = place()
    """Id of split ``dev``; optional."""
    train: str = place()
    """Id of split ``train``; optional."""
    split: str = "test"
    """Judgments to evaluate on: ``test``, ``dev`` or ``train``."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""
    exclude_same_ids: bool = False
    """Remove a document from a query's results if it has the query's id; use it for ArguAna and Quora,
    whose queries are documents of the corpus."""

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise ConfigError(f"split: {self.split!r} is not one of {', '.join(_SPLITS)}")
        if not getattr(self, self.split):
            raise ConfigError(f"{self.split}: is required: an id of ir_datasets, such as beir/scifact/test")
        check_language(self.language)

    def content(self, table: str) -> str:
        package = _package()
        if table == "docs":
            ids = {"": package.docs_parent_id(self._checked(self.split))}
        else:
            ids = {split: self._checked(split) for split in self._splits()}
        return hashlib.sha256(json.dumps([package.__version__, ids]).encode()).hexdigest()

    def parts(self, table: str) -> list[Part]:
        if table != "docs":
            return [Part(self._checked(split), split=split) for split in self._splits()]
        name = self._checked(self.split)
        with _errors(name):
            source = _package().load(name)
            source.docs_iter()[:1]  # slicing makes ir_datasets build its store
            count = source.docs_count()
            if count is None:
                count = sum(1 for _ in source.docs_iter())
        starts = range(0, count, _PART_DOCS) or [0]
        return [Part(name, start, min(start + _PART_DOCS, count), start + 1) for start in starts]

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        with _errors(part.path):
            source = _package().load(part.path)
            rows: Iterator[Row | Bad]
            if table == "docs":
                rows = map(_doc, source.docs_iter()[part.start : part.end])
            elif table == "queries":
                rows = map(_query, source.queries_iter())
            else:
                rows = (_judgment(row, part.split) for row in source.qrels_iter())
            yield from enumerate(rows, part.first_line)

    def _splits(self) -> list[str]:
        return [split for split in dict.fromkeys([self.split, "train", "dev"]) if getattr(self, split)]

    def _checked(self, split: str) -> str:
        """Return the id of a split; raise DataError if ir_datasets does not know it."""
        name: str = getattr(self, split)
        registry = _package().registry
        try:
            source = registry[name]
        except KeyError:
            raise DataError(f"dataset.{split}: {unknown(name, list(registry), 'an id of ir_datasets')}") from None
        missing = [each for each in ("docs", "queries", "qrels") if not source.has(each)]
        if missing:
            raise DataError(f"dataset.{split}: {name} has no {' and no '.join(missing)}")
        return name


def _doc(row: Any) -> Row | Bad:
    text = getattr(row, "text", None) or getattr(row, "body", None)
    title = getattr(row, "title", None)
    if not isinstance(text, str):
        title, text = "", row.default_text()
    return _rows.doc(row.doc_id, title, text, str(row)[:200])


def _query(row: Any) -> Row | Bad:
    return _rows.query(row.query_id, row.default_text(), str(row)[:200])


def _judgment(row: Any, split: str) -> Row | Bad:
    return _rows.judgment(row.query_id, row.doc_id, row.relevance, split, str(row)[:200])


def _package() -> Any:
    if importlib.util.find_spec("ir_datasets") is None:
        raise ConfigError("dataset irds: the package ir_datasets is not installed; pip install 'gradret[irds]'")
    import ir_datasets  # type: ignore[import-untyped]

    return ir_datasets


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turn errors inside ir_datasets, which passes on those of network and disk, into a DataError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"ir_datasets cannot read {name}: {error}. Without a network, copy the folder IR_DATASETS_HOME from a "
            "machine that has read it"
        ) from error
