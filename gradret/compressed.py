"""Open a text file for reading, compressed or not; its last suffix says which."""

from __future__ import annotations

import bz2
import gzip
import io
import typing
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradret.errors import DataError

__all__ = ["is_compressed", "lines", "open_bytes", "plain_name"]


def is_compressed(path: Path) -> bool:
    """Whether the suffix is ``.gz``, ``.bz2`` or ``.zst``."""
    return path.suffix in _OPENERS


def plain_name(path: Path) -> Path:
    """The path without the suffix of a compression."""
    return path.with_suffix("") if is_compressed(path) else path


@contextmanager
def open_bytes(path: Path) -> Iterator[typing.BinaryIO]:
    """The bytes of a file, decompressed as they are read; ``seek`` goes forward only.

    Raises:
        DataError: the file cannot be opened or read, or is not whole.
    """
    try:
        with _OPENERS.get(path.suffix, _plain)(path) as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed: {error}; is it whole?") from error
    except OSError as error:
        if error.errno is None:  # a decompressor's, not the file system's
            raise DataError(f"{path} cannot be decompressed: {error}; is it whole?") from error
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, without their ends, numbered from 1.

    Raises:
        DataError: as ``open_bytes``, or a line is not UTF-8.
    """
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                where = f"{path}:{number}"
                raise DataError(f"{where}: not UTF-8: {error.reason} at byte {error.start} of the line") from None
            if text.strip():
                yield number, text


def _plain(path: Path) -> typing.BinaryIO:
    return path.open("rb")


def _gzip(path: Path) -> typing.BinaryIO:
    return typing.cast("typing.BinaryIO", gzip.GzipFile(path, "rb"))


def _bz2(path: Path) -> typing.BinaryIO:
    return typing.cast("typing.BinaryIO", bz2.BZ2File(path, "rb"))


def _zstd(path: Path) -> typing.BinaryIO:
    import pyarrow as pa

    path.stat()  # else a missing file is an error without errno
    return io.BufferedReader(_Forward(pa.input_stream(path, compression="zstd")))


class _Forward(io.RawIOBase):
    """A stream of pyarrow as a raw file, which can be read and skipped."""

    def __init__(self, stream: typing.Any) -> None:
        self.stream, self.place = stream, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: typing.Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self.place:
            raise io.UnsupportedOperation("a zstd stream is read forward only")
        while self.place < offset and (skipped := len(self.stream.read(min(offset - self.place, 1 << 20)))):
            self.place += skipped
        return self.place


_OPENERS = {".gz": _gzip, ".bz2": _bz2, ".zst": _zstd}
