"""Files of any names: MS MARCO's TSV, TREC's judgments, JSON lines, Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradret.config.fields import expand_home
from gradret.datasets import Bad, Part, Row, _formats, check_language, place
from gradret.datasets._rows import Columns
from gradret.errors import ConfigError, DataError

__all__ = ["Files"]

_SPLITS = ("test", "dev", "train")


@dataclass(frozen=True)
class Files:
    """Documents, queries and judgments in files of their own, each read as its name says.

    ``.jsonl`` (``.json``, ``.ndjson``) holds an object a line, ``.parquet`` a table; ``columns`` names what
    is read of them. Any other file holds columns separated by tabs: id and text; for documents also id,
    url, title and text; judgments are query, document and grade, or TREC's four columns, which blanks may
    separate too. A first line of the usual names (``qid``, ``docid``, ``title``, ``score``, or those of ``columns``)
    is a header and says where the columns stand. That is MS MARCO and TREC DL as they are published:

        {name: files, path: DIR, docs: collection.tsv, queries: "queries.train.tsv,queries.dev.tsv",
         train: qrels.train.tsv, dev: qrels.dev.tsv, split: dev}

    Lines may be compressed (``.gz``, ``.bz2``, ``.zst``). A large corpus is better left plain: a piece of a
    compressed file is reached by decompressing what comes before it.
    """

    docs: str = place()
    """Documents: a file, a pattern such as ``corpus/*.parquet``, or several, separated by commas."""
    queries: str = place()
    """Queries, of all splits, likewise."""
    test: str = place()
    """Judgments of split ``test``, likewise."""
    dev: str = place()
    """Judgments of split ``dev``; may be missing."""
    train: str = place()
    """Judgments of split ``train``; may be missing."""
    path: str = place()
    """The folder that the files are named from; empty is the working folder."""
    columns: Columns = Columns()
    """What is read of JSON lines, Parquet and files with a header."""
    split: str = "test"
    """Judgments to evaluate on: ``test``, ``dev`` or ``train``."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""
    exclude_same_ids: bool = False
    """Leave a document with the query's own id out of what a search finds; right where the queries are
    documents of the corpus."""

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise ConfigError(f"split: {self.split!r} is not one of {', '.join(_SPLITS)}")
        missing = [name for name in ("docs", "queries", self.split) if not getattr(self, name)]
        if missing:
            raise ConfigError.of([f"{name}: is required: a file" for name in missing])
        check_language(self.language)

    def content(self, table: str) -> str:
        return _formats.content(self._named(table))

    def parts(self, table: str) -> list[Part]:
        return _formats.parts(table, self._named(table), self.columns)

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        yield from _formats.read(table, part, self.columns)

    def _named(self, table: str) -> _formats.Named:
        if table != "qrels":
            return [("", path) for path in self._found(table)]
        splits = dict.fromkeys([self.split, "train", "dev"])
        return [(split, path) for split in splits if getattr(self, split) for path in self._found(split)]

    def _found(self, field: str) -> list[Path]:
        # Absolute: a worker of a cluster has a working folder of its own.
        folder = Path(self.path).absolute()
        found: dict[Path, None] = {}
        for part in str(getattr(self, field)).split(","):
            name = expand_home(part.strip())
            # A name without a pattern may hold brackets; what it names comes first.
            named = [folder / name]
            paths = [path for path in named if path.is_file()] or _matches(folder, name)
            if not paths:
                raise DataError(f"dataset.{field}: no file {folder / name}")
            found |= dict.fromkeys(paths)
        return list(found)


def _matches(folder: Path, pattern: str) -> list[Path]:
    whole = Path(pattern)
    root, relative = (Path(whole.anchor), str(whole.relative_to(whole.anchor))) if whole.anchor else (folder, pattern)
    return sorted(path for path in root.glob(relative) if path.is_file()) if relative not in {"", "."} else []
