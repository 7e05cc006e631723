"""Files with any names: MS MARCO's TSV, TREC's judgments, CSV, JSON lines, Parquet."""

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
    """Documents, queries and judgments in separate files, each in the format that its name says.

    ``.jsonl`` (``.json``, ``.ndjson``) has one object per line, ``.parquet`` a table, ``.csv`` commas and a header;
    ``columns`` names their fields, and usual names (``id``, ``body``, ...) need not be given. Any other file has
    tab-separated columns: id and text, for documents also id, url, title and text; judgments have query, document and
    grade, or TREC's four columns, and may be separated by spaces. A first line with the usual names (``qid``,
    ``docid``, ``title``, ``score``, or those of ``columns``) is a header and gives the order of the columns. MS MARCO
    and TREC DL can be read as published:

        {name: files, path: DIR, docs: collection.tsv, queries: "queries.train.tsv,queries.dev.tsv",
         train: qrels.train.tsv, dev: qrels.dev.tsv, split: dev}

    Text files may be compressed (``.gz``, ``.bz2``, ``.zst``). Keep a large corpus uncompressed: reading a part
    of a compressed file decompresses everything before it.
    """

    docs: str = place()
    """Documents: files or patterns such as ``corpus/*.parquet``, separated by commas."""
    queries: str = place()
    """Queries of all splits: files or patterns; empty, with no judgments either, for documents alone."""
    test: str = place()
    """Judgments of split ``test``: files or patterns."""
    dev: str = place()
    """Judgments of split ``dev``; optional."""
    train: str = place()
    """Judgments of split ``train``; optional."""
    path: str = place()
    """Folder that relative file names start from; empty is the working directory."""
    columns: Columns = Columns()
    """Column names in JSON lines, Parquet and files with a header."""
    split: str = "test"
    """Judgments to evaluate on: ``test``, ``dev`` or ``train``."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""
    exclude_same_ids: bool = False
    """Remove a document from a query's results if it has the query's id; use it if the queries are
    documents of the corpus."""

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise ConfigError(f"split: {self.split!r} is not one of {', '.join(_SPLITS)}")
        judged = self.queries or any(getattr(self, split) for split in _SPLITS)
        wanted = ("docs", "queries", self.split) if judged else ("docs",)
        missing = [name for name in wanted if not getattr(self, name)]
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
            return [("", path) for path in (self._paths(table) if getattr(self, table) else [])]
        splits = dict.fromkeys([self.split, "train", "dev"])
        return [(split, path) for split in splits if getattr(self, split) for path in self._paths(split)]

    def _paths(self, field: str) -> list[Path]:
        # Absolute: a worker on a cluster has another working directory.
        folder = Path(self.path).absolute()
        all_paths: dict[Path, None] = {}
        for part in str(getattr(self, field)).split(","):
            name = expand_home(part.strip())
            # A plain name may contain brackets, so try it as it is before reading it as a pattern.
            paths = [folder / name] if (folder / name).is_file() else _matches(folder, name)
            if not paths:
                raise DataError(f"dataset.{field}: no file {folder / name}")
            all_paths |= dict.fromkeys(paths)
        return list(all_paths)


def _matches(folder: Path, pattern: str) -> list[Path]:
    path = Path(pattern)
    root, relative = (Path(path.anchor), str(path.relative_to(path.anchor))) if path.anchor else (folder, pattern)
    return sorted(match for match in root.glob(relative) if match.is_file()) if relative not in {"", "."} else []
