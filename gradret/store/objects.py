"""Requests to an object store: repeated if it is busy, and one line that says what to do if that does not help.

Files go up and down whole, from and to finished local files, and their length is checked after: pyarrow's streams store
what they have if they are closed by an error, and its ``copy_files`` hides the error of an upload.
"""

from __future__ import annotations

import functools
import random
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gradret.errors import StorageError
from gradret.urls import Location

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

__all__ = ["delete", "download", "filesystem", "info", "listing", "read", "require_bucket", "upload", "write"]

T = TypeVar("T")

_TRIES = 6
_PAUSE = 0.5
"""Seconds before the second try; twice as many before each further one."""
_BLOCK = 1 << 23

_CREDENTIALS = (
    "give this node credentials that may read and write there (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, "
    "GOOGLE_APPLICATION_CREDENTIALS, or the machine's role)"
)
_FINAL = {
    r"ACCESS_DENIED|FORBIDDEN|PERMISSION|INVALID_ACCESS_KEY|SIGNATURE|UNRECOGNIZED_CLIENT|INVALID_CLIENT_TOKEN|"
    r"EXPIRED_TOKEN|InvalidAccessKeyId|(HTTP status|code) 40[13]|[Uu]nauthenticated|OAuth2": _CREDENTIALS,
    r"NO_SUCH_BUCKET|NoSuchBucket|[Bb]ucket .*not found|does not exist": "create the bucket, or correct its name",
    r"PermanentRedirect|(HTTP status|code) 301": "set the bucket's region with AWS_REGION or ?region=",
}
"""Errors that trying again does not mend, and what does."""
_BUSY = "check the network, AWS_ENDPOINT_URL or ?endpoint_override=, and run again: finished shards are kept"


@functools.cache
def filesystem(scheme: str, options: tuple[tuple[str, str], ...], bucket: str) -> FileSystem:
    """The file system of a bucket; credentials are those that the cloud's own tools find on this machine."""
    from datetime import timedelta

    from pyarrow import fs

    given: dict[str, Any] = dict(options)
    if scheme == "gs":
        given.pop("region", None)
        if "endpoint_override" in given:  # an emulator
            given["endpoint_override"] = re.sub("^https?://", "", given["endpoint_override"])
            given["anonymous"] = True
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=10), **given)
    if not given.keys() & {"region", "endpoint_override"}:
        given["region"] = fs.resolve_s3_region(bucket)
    # One request for a small file instead of three.
    return fs.S3FileSystem(allow_delayed_open=True, **given)


def require_bucket(place: Location) -> None:
    """Check that the bucket exists and can be read.

    Raises:
        StorageError: it does not, or these credentials may not read it.
    """
    found = _tried(place, lambda fs: fs.get_file_info(place.bucket))
    if found.type.name == "NotFound":
        raise StorageError(f"{place.url}: there is no bucket {place.bucket}; create it, or correct its name")


def info(place: Location) -> FileInfo | None:
    """Size and modification time of an object; None if there is none."""
    found = _tried(place, lambda fs: fs.get_file_info(place.key))
    return found if found.is_file else None


def listing(place: Location, *, below: bool = False) -> dict[str, FileInfo]:
    """The objects in a folder, by their names relative to it; with ``below``, those in its folders too."""
    from pyarrow.fs import FileSelector

    selector = FileSelector(place.key, allow_not_found=True, recursive=below)
    found = _tried(place, lambda fs: fs.get_file_info(selector))
    return {each.path.removeprefix(f"{place.key}/"): each for each in found if each.is_file}


def upload(path: Path, place: Location) -> FileInfo:
    """Store a local file."""

    def copy(fs: FileSystem) -> FileInfo:
        with path.open("rb") as file, fs.open_output_stream(place.key) as stream:
            shutil.copyfileobj(file, stream, _BLOCK)
        stored = fs.get_file_info(place.key)
        if stored.size != path.stat().st_size:
            raise OSError(f"{stored.size} bytes are stored of {path.stat().st_size}")
        return stored

    return _tried(place, copy)


def download(place: Location, path: Path) -> FileInfo | None:
    """Copy an object to a local file; None if there is none."""

    def copy(fs: FileSystem) -> FileInfo | None:
        stored = fs.get_file_info(place.key)
        if not stored.is_file:
            return None
        with fs.open_input_stream(place.key) as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file, _BLOCK)
        if stored.size != path.stat().st_size:
            raise OSError(f"{path.stat().st_size} bytes came of {stored.size}")
        return stored

    return _tried(place, copy)


def read(place: Location) -> bytes | None:
    """The content of a small object; None if there is none."""

    def get(fs: FileSystem) -> bytes | None:
        try:
            with fs.open_input_stream(place.key) as file:
                content: bytes = file.read()
                return content
        except FileNotFoundError:
            return None

    return _tried(place, get)


def write(place: Location, content: bytes) -> None:
    """Store a small object."""

    def put(fs: FileSystem) -> None:
        with fs.open_output_stream(place.key) as file:
            file.write(content)

    _tried(place, put)


def delete(place: Location) -> None:
    """Delete an object, and all objects in the folder of this name."""

    def drop(fs: FileSystem) -> None:
        found = fs.get_file_info(place.key)
        with suppress(FileNotFoundError):  # another process has deleted it
            if found.is_file:
                fs.delete_file(place.key)
            elif found.type.name == "Directory":
                fs.delete_dir(place.key)

    _tried(place, drop)


def _tried(place: Location, request: Callable[[FileSystem], T]) -> T:
    """The answer of a request, which is repeated while the store is busy or the network fails.

    Raises:
        StorageError: the store refuses, or does not answer after several tries.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            return request(filesystem(place.scheme, place.options, place.bucket))
        except OSError as error:
            reason = " ".join(str(error).split())
            advice = next((what for pattern, what in _FINAL.items() if re.search(pattern, reason)), "")
            if advice or attempt == _TRIES:
                raise StorageError(f"{place.url}: {_short(reason)}; {advice or _BUSY}") from error
        time.sleep(_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311
    raise AssertionError


def _short(reason: str) -> str:
    """What came, without the request's id and the details that the SDK adds."""
    return re.split(r" \(Request ID|; Details:", reason)[0][:300]
