"""A folder of text, Markdown and HTML files: each file is a document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from gradret.datasets import Bad, Part, Row, check_language, place
from gradret.datasets._rows import doc
from gradret.datasets._tables import cut
from gradret.datasets.beir import Beir
from gradret.errors import ConfigError, DataError
from gradret.store.fingerprint import hash_files

__all__ = ["Folder"]

_HTML = {".html", ".htm"}
_KINDS = {".txt", ".md", *_HTML}
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


@dataclass(frozen=True)
class Folder:
    """The ``.txt``, ``.md`` and ``.html`` files of a folder and its subfolders; hidden ones are left out.

    A document's id is the file's path in the folder. Its title is the title of an HTML page or the first heading of a
    Markdown file. Queries and judgments are those of a BEIR folder in the same place (``queries.jsonl``,
    ``qrels/SPLIT.tsv``), if there are any.
    """

    path: str = place()
    """The folder."""
    split: str = "test"
    """Judgments to evaluate on, if there are any: ``qrels/SPLIT.tsv``."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""
    exclude_same_ids: bool = False
    """Remove a document from a query's results if it has the query's id."""

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("path: is required: a folder with .txt, .md or .html files")
        check_language(self.language)

    def content(self, table: str) -> str:
        if table != "docs":
            return self._judged.content(table)
        root, files = self._files()
        try:
            return hash_files(files) + "".join(f"\n{path.relative_to(root)}" for path in files)
        except OSError as error:
            raise DataError(f"cannot read {error.filename}: {error.strerror}") from error

    def parts(self, table: str) -> list[Part]:
        if table != "docs":
            return self._judged.parts(table)
        root, files = self._files()
        return cut(str(root), len(files), sum(path.stat().st_size for path in files))

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        if table != "docs":
            yield from self._judged.read(table, part)
            return
        root, files = self._files()
        for number, path in enumerate(files[part.start : part.end], part.start + 1):
            yield number, _document(path.relative_to(root).as_posix(), path)

    @property
    def _judged(self) -> Beir:
        return Beir(self.path, self.split, self.language, self.exclude_same_ids)

    def _files(self) -> tuple[Path, list[Path]]:
        # Absolute: a worker on a cluster has another working directory.
        root = Path(self.path).absolute()
        if not root.is_dir():
            raise DataError(f"dataset.path: no folder at {root}")
        files = sorted(path for path in root.rglob("*") if path.suffix.lower() in _KINDS and path.is_file())
        shown = [path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts)]
        if not shown:
            raise DataError(f"dataset.path: {root} has no {', '.join(sorted(_KINDS))} files")
        return root, shown


def _document(doc_id: str, path: Path) -> Row | Bad:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        return Bad("not UTF-8", f"{doc_id}: {error.object[max(0, error.start - 40) : error.start + 40]!r}")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    title = ""
    if path.suffix.lower() in _HTML:
        page = _Page()
        page.feed(text)
        page.close()
        title, text = page.title, page.text
    elif path.suffix.lower() == ".md" and (heading := _HEADING.search(text)):
        title = heading.group(1)
    return doc(doc_id, title, text, doc_id, id_name="file name")


class _Page(HTMLParser):
    """Collects the title and the visible text of a page; a block begins a new line."""

    _HIDDEN = frozenset({"script", "style", "template", "noscript", "title"})
    _INLINE = frozenset("a abbr b cite code em i kbd mark q s small span strong sub sup u var wbr".split())  # noqa: SIM905

    def __init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._title: list[str] = []
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in self._HIDDEN:
            self._open.append(tag)
        elif tag not in self._INLINE:
            self._text.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)
        elif tag not in self._INLINE:
            self._text.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._open:
            self._text.append(data)
        elif self._open == ["title"]:
            self._title.append(data)

    @property
    def title(self) -> str:
        return " ".join("".join(self._title).split())

    @property
    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._text).split("\n"))
        return "\n".join(line for line in lines if line)
