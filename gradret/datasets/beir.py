"""A BEIR folder: ``corpus.jsonl`` and, unless it has documents alone, ``queries.jsonl`` and ``qrels/SPLIT.tsv``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradret.datasets import Bad, Part, Row, _formats, check_language, place
from gradret.datasets._rows import Columns
from gradret.errors import ConfigError, DataError

__all__ = ["Beir"]

_NAMES = {"docs": "corpus.jsonl", "queries": "queries.jsonl"}


@dataclass(frozen=True)
class Beir:
    """A folder in the layout of BEIR.

    Each part of CQADupStack is such a folder. A folder with ``corpus.jsonl`` alone is evaluated on generated queries
    that are held out of training.

    Source: Thakur et al., BEIR (NeurIPS 2021), whose loader reads the same files.
    """

    path: str = place()
    """The folder."""
    split: str = "test"
    """Judgments to evaluate on: ``qrels/SPLIT.tsv``."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""
    exclude_same_ids: bool = False
    """Remove a document from a query's results if it has the query's id; use it for ArguAna and Quora,
    whose queries are documents of the corpus."""

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError(
                "path: is required: a folder with corpus.jsonl and, if there are any, queries.jsonl and qrels/"
            )
        check_language(self.language)

    def content(self, table: str) -> str:
        return _formats.content(self._named(table))

    def parts(self, table: str) -> list[Part]:
        return _formats.parts(table, self._named(table), Columns())

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        yield from _formats.read(table, part, Columns())

    def _named(self, table: str) -> _formats.Named:
        # Absolute: a worker on a cluster has another working directory.
        folder = Path(self.path).absolute()
        if not folder.is_dir():
            raise DataError(f"dataset.path: no folder at {folder}")
        if table != "docs" and not (folder / _NAMES["queries"]).exists() and not (folder / "qrels").exists():
            return []
        if table == "qrels":
            others = [name for name in ("train", "dev") if name != self.split]
            files = [(name, folder / "qrels" / f"{name}.tsv") for name in (self.split, *others)]
            files = [files[0], *((name, path) for name, path in files[1:] if path.exists())]
        else:
            files = [("", folder / _NAMES[table])]
        for _, path in files:
            if not path.is_file():
                have = ", ".join(sorted(found.stem for found in (folder / "qrels").glob("*.tsv"))) or "none"
                hint = f"; dataset.split has files for: {have}" if table == "qrels" else ""
                raise DataError(f"{path}: no such file; a BEIR folder has {path.relative_to(folder)}{hint}")
        return files
