"""Read text files, compressed or not, in parts that can be read in parallel."""

from __future__ import annotations

import codecs
import typing
from collections.abc import Iterator
from pathlib import Path

from gradret.compressed import is_compressed, open_bytes
from gradret.datasets import Bad, Part

__all__ = ["first_line", "parts", "read"]

_PART_BYTES = 4 << 20
# Large, because reading a part of a compressed file decompresses everything before it.
_COMPRESSED_PART_BYTES = 64 << 20


def parts(path: Path, split: str = "") -> list[Part]:
    """Split a file at line ends into parts of about ``_PART_BYTES``, each with its first line's number.

    An empty file is one empty part.

    Raises:
        DataError: the file cannot be read or decompressed.
    """
    with open_bytes(path) as file:
        return _split(path, file, split)


def read(part: Part) -> Iterator[tuple[int, str | Bad]]:
    """Yield the non-blank lines of a part, without line ends, each with its number in the file."""
    for number, line in _lines(part):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - not part of the text
        if not line.strip():
            continue
        try:
            yield number, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield number, Bad("not UTF-8", repr(line[max(0, error.start - 40) : error.start + 40]))


def first_line(path: Path) -> tuple[int, str]:
    """Return the file's first line that is not blank, without its end, and its number.

    Bytes that are not UTF-8 are left out. Of a file of blank lines, the line is empty.
    """
    for number, line in _lines(Part(str(path))):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if text.strip():
            return number, text.decode("utf-8", "ignore").rstrip("\r\n")
    return 0, ""


def _split(path: Path, file: typing.BinaryIO, split: str) -> list[Part]:
    size = _COMPRESSED_PART_BYTES if is_compressed(path) else _PART_BYTES
    pieces: list[Part] = []
    start, line, position, first = 0, 1, 0, 1
    while block := file.read(size):
        end = block.rfind(b"\n")
        if end >= 0:
            line += block.count(b"\n")
            pieces.append(Part(str(path), start, position + end + 1, first, split))
            start, first = position + end + 1, line
        position += len(block)
    if position > start or not pieces:
        pieces.append(Part(str(path), start, position, first, split))
    return pieces


def _lines(part: Part) -> Iterator[tuple[int, bytes]]:
    with open_bytes(Path(part.path)) as file:
        file.seek(part.start)
        number, position = part.first_line, part.start
        while part.end < 0 or position < part.end:
            line = file.readline()
            if not line:
                return
            yield number, line
            number, position = number + 1, position + len(line)
