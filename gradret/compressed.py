"""Read text files, compressed or not, according to their last suffix."""

from __future__ import annotations

import bz2
import codecs
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
    """Return whether the suffix is ``.gz``, ``.bz2`` or ``.zst``."""
    return path.suffix in _OPENERS


def plain_name(path: Path) -> Path:
    """Return the path without a compression suffix."""
    return path.with_suffix("") if is_compressed(path) else path


@contextmanager
def open_bytes(path: Path) -> Iterator[typing.BinaryIO]:
    """Open a file and decompress it as it is read; ``seek`` only works forward.

    Raises:
        DataError: the file cannot be opened or read, or is truncated.
    """
    try:
        with _OPENERS.get(path.suffix, _plain)(path) as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed: {error}; is the file complete?") from error
    except OSError as error:
        if error.errno is None:  # from a decompressor, not the file system
            raise DataError(f"{path} cannot be decompressed: {error}; is the file complete?") from error
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file that are not blank, without line ends, with their numbers from 1.

    Raises:
        DataError: raised by ``open_bytes``, or a line is not UTF-8.
    """
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            plain = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not plain.strip():
                continue
            try:
                yield number, plain.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                where = f"{path}:{number}"
                raise DataError(f"{where}: not UTF-8: {error.reason} at byte {error.start} of the line") from None


def _plain(path: Path) -> typing.BinaryIO:
    return path.open("rb")


def _gzip(path: Path) -> typing.BinaryIO:
    return typing.cast("typing.BinaryIO", gzip.GzipFile(path, "rb"))


def _bz2(path: Path) -> typing.BinaryIO:
    return typing.cast("typing.BinaryIO", bz2.BZ2File(path, "rb"))


def _zstd(path: Path) -> typing.BinaryIO:
    import pyarrow as pa

    path.stat()  # otherwise, the error for a missing file has no errno
    return io.BufferedReader(_ForwardStream(pa.input_stream(path, compression="zstd")))


class _ForwardStream(io.RawIOBase):
    """Wraps a pyarrow stream as a raw file that can be read and can seek forward."""

    def __init__(self, stream: typing.Any) -> None:
        self.stream, self.position = stream, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: typing.Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self.position:
            raise io.UnsupportedOperation("a zstd stream can only be read forward")
        while self.position < offset and (skipped := len(self.stream.read(min(offset - self.position, 1 << 20)))):
            self.position += skipped
        return self.position


_OPENERS = {".gz": _gzip, ".bz2": _bz2, ".zst": _zstd}
