"""Download a large file completely or not at all, resuming earlier attempts."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradret.errors import DataError
from gradret.progress import Progress

__all__ = ["download"]

_TRIES = 3
_PAUSE = 1.0
"""Seconds between tries."""
_TIMEOUT = 30.0
_BLOCK = 1 << 20


class _InterruptedError(Exception):
    """The network failed; the bytes received so far are kept."""


def download(url: str, path: Path) -> None:
    """Download ``url`` to ``path``. A partial download is kept next to it and resumed, also by the next run.

    Raises:
        DataError: the server cannot be reached, refuses, or breaks the connection repeatedly.
    """
    draft = path.with_name(f"{path.name}.part")
    failed = 0
    while True:
        before = _size(draft)
        try:
            _resume(url, draft, path.name)
            break
        except _InterruptedError as error:
            failed = 1 if _size(draft) > before else failed + 1
            if failed == _TRIES:
                raise DataError(
                    f"cannot download {url}: {error}. Try again later, or download it elsewhere and copy it to {path}"
                ) from error
        time.sleep(_PAUSE)
    draft.replace(path)


def _resume(url: str, draft: Path, name: str) -> None:
    """Append the missing bytes to ``draft``."""
    start = _size(draft)
    with _network():
        response = _open(url, start)
    if response is None:  # already complete
        return
    with response, draft.open("ab") as file:
        if response.status != http.client.PARTIAL_CONTENT:  # the server sends the whole file
            file.truncate(start := 0)
        remaining = int(response.headers.get("Content-Length") or 0)
        progress = Progress(name, (start + remaining) >> 20, "MB")
        progress.skip(start >> 20)
        received = 0
        for block in _blocks(response):
            file.write(block)
            progress.add(((received + len(block)) >> 20) - (received >> 20))
            received += len(block)
        progress.close()
    if received < remaining:
        raise _InterruptedError(f"the connection closed after {start + received:,} of {start + remaining:,} bytes")


def _open(url: str, start: int) -> http.client.HTTPResponse | None:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        if error.code >= http.client.INTERNAL_SERVER_ERROR:
            raise
        raise DataError(f"cannot download {url}: the server answered {error.code} {error.reason}") from error
    return response


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _network():
            block = response.read(_BLOCK)
        if not block:
            return
        yield block


@contextmanager
def _network() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(str(getattr(error, "reason", None) or error or type(error).__name__)) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
