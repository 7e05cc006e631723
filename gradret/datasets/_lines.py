"""Files of lines, plain or gzipped, in pieces that are read apart."""

from __future__ import annotations

import codecs
import gzip
import typing
import zlib
from collections.abc import Iterator
from pathlib import Path

from gradret.datasets import Bad, Part
from gradret.errors import DataError

__all__ = ["parts", "read"]

_PART_BYTES = 4 << 20
# A piece of a gzipped file is reached by unzipping all that comes before it, so they are few.
_GZIP_PART_BYTES = 64 << 20


def parts(path: Path, split: str = "") -> list[Part]:
    """Pieces of about ``_PART_BYTES`` that end at line ends; every piece knows its first line's number.

    An empty file is one empty piece.

    Raises:
        DataError: the file cannot be unzipped.
    """
    try:
        with _open(path) as file:
            return _cut(path, file, split)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be unzipped: {error}; is it whole?") from error


def read(part: Part) -> Iterator[tuple[int, str | Bad]]:
    """The lines of a piece that are not blank, without their ends, each with its number in the file."""
    for number, line in _lines(part):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - a mark, not text
        if not line.strip():
            continue
        try:
            yield number, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield number, Bad("not UTF-8", repr(line[max(0, error.start - 40) : error.start + 40]))


def _open(path: Path) -> typing.BinaryIO:
    opened = gzip.GzipFile if path.suffix == ".gz" else open
    return typing.cast("typing.BinaryIO", opened(path, "rb"))


def _cut(path: Path, file: typing.BinaryIO, split: str) -> list[Part]:
    size = _GZIP_PART_BYTES if path.suffix == ".gz" else _PART_BYTES
    found: list[Part] = []
    start, line, position, first = 0, 1, 0, 1
    while block := file.read(size):
        end = block.rfind(b"\n")
        if end >= 0:
            line += block.count(b"\n")
            found.append(Part(str(path), start, position + end + 1, first, split))
            start, first = position + end + 1, line
        position += len(block)
    if position > start or not found:
        found.append(Part(str(path), start, position, first, split))
    return found


def _lines(part: Part) -> Iterator[tuple[int, bytes]]:
    with _open(Path(part.path)) as file:
        file.seek(part.start)
        number, position = part.first_line, part.start
        while part.end < 0 or position < part.end:
            line = file.readline()
            if not line:
                return
            yield number, line
            number, position = number + 1, position + len(line)
