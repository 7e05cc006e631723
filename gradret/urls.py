"""Name the files of an object store by URL, and by the local paths of their copies.

    s3://bucket/prefix/x?endpoint_override=http://host:9000   the file x of a storage
    MIRRORS/gradret-mirror/s3,endpoint_override=http%3A%2F%2Fhost%3A9000/bucket/prefix/x   its copy on a machine

A copy's path holds all that it takes to find the object, so it means the same on every node, wherever its mirrors are.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

__all__ = ["Location", "is_mirrored", "is_url", "local_path", "location", "shown", "url_problem"]

_MARK = "gradret-mirror"
_SCHEMES = {"s3": "s3", "gs": "gs", "gcs": "gs"}
_OPTIONS = ("endpoint_override", "region", "scheme")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class Location:
    """A place in an object store."""

    scheme: str
    """``s3`` or ``gs``."""
    options: tuple[tuple[str, str], ...]
    """How to reach the store: ``endpoint_override``, ``region``, ``scheme``."""
    key: str
    """``BUCKET/NAME``."""

    @property
    def bucket(self) -> str:
        return self.key.partition("/")[0]

    @property
    def url(self) -> str:
        """The URL, with its options."""
        query = "&".join(f"{name}={value}" for name, value in self.options)
        return f"{self.scheme}://{self.key}" + (f"?{query}" if query else "")


def is_url(reference: str) -> bool:
    """Whether a reference is a URL of an object store."""
    return reference.partition("://")[0] in _SCHEMES and "://" in reference


def url_problem(url: str) -> str:
    """The problem with ``url`` as a place in an object store; empty if there is none."""
    split = urlsplit(url)
    if split.scheme not in _SCHEMES or not split.netloc:
        return f"must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, got {url!r}"
    if "@" in split.netloc:
        return f"must not contain credentials; set {_variables(split.scheme)} on every node instead"
    parts = split.path.strip("/").split("/")
    if split.fragment or (parts != [""] and not all(re.fullmatch(r"[^\s\\\x00-\x1f]+", part) for part in parts)):
        return f"must have a prefix without spaces and empty parts, got {url!r}"
    if {".", ".."} & set(parts):
        return f"must not contain . or .. as a part, got {url!r}"
    unknown = [name for name, _ in parse_qsl(split.query, keep_blank_values=True) if name not in _OPTIONS]
    return f"unknown option {unknown[0]!r}; the options are {', '.join(_OPTIONS)}" if unknown else ""


def _variables(scheme: str) -> str:
    return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if scheme == "s3" else "GOOGLE_APPLICATION_CREDENTIALS"


def local_path(reference: str | Path) -> Path:
    """The path of the copies of a URL on this machine; any other reference as a path."""
    text = str(reference)
    if not is_url(text):
        return Path(text)
    split = urlsplit(text)
    scheme, options = _SCHEMES[split.scheme], dict(parse_qsl(split.query))
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    if scheme == "s3" and endpoint:  # other nodes may lack the variable
        options.setdefault("endpoint_override", endpoint)
    store = ",".join([scheme, *(f"{name}={quote(value, safe='')}" for name, value in sorted(options.items()))])
    return _mirrors() / _MARK / store / split.netloc / split.path.strip("/")


def _mirrors() -> Path:
    """The folder of this machine's mirrors; not below a home, which may differ between nodes."""
    return Path(os.environ.get("GRADRET_MIRRORS") or f"/var/tmp/gradret-{os.getuid()}").absolute()  # noqa: S108


def is_mirrored(path: Path) -> bool:
    """Whether a path is that of a copy."""
    return _MARK in path.parts


def location(path: Path) -> Location | None:
    """The place that ``path`` is a copy of; None for any other path."""
    if _MARK not in path.parts:
        return None
    store, *key = path.parts[path.parts.index(_MARK) + 1 :]
    scheme, *options = store.split(",")
    named = tuple((name, unquote(value)) for name, _, value in (option.partition("=") for option in options))
    return Location(scheme, named, "/".join(key))


def mirrors(path: Path) -> Path:
    """The folder of the mirrors that a copy is in."""
    return Path(*path.parts[: path.parts.index(_MARK)])


def shown(path: Path) -> str:
    """A path for people: the URL, if it is a copy."""
    place = location(path)
    return place.url if place else str(path)
