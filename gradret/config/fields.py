"""How a config's fields are declared, and what their values are held to."""

from __future__ import annotations

import os
import re
from dataclasses import MISSING, field
from typing import Any

from gradret.errors import ConfigError

__all__ = [
    "above_zero",
    "at_least",
    "by_name",
    "component",
    "expand_home",
    "folder_name",
    "list_of",
    "location",
    "refuse",
    "share",
]

_LONGEST = 200
"""Bytes of a folder's name. File systems take 255, and drafts beside it have longer names."""


def component(kind: str, default: object = MISSING, *, many: bool = False) -> Any:
    """A field that holds a component of ``kind``, or with ``many`` a list of them.

    ``default`` is what the YAML would hold: ``{"name": ...}`` or a list of such, or None where there
    may be no component.
    """
    metadata = {"kind": kind, "many": many, "default": default}
    return field(metadata=metadata) if default is MISSING else field(default=None, metadata=metadata)


def by_name(part: str | type) -> Any:
    """A field that holds components of a kind, or instances of a dataclass, by names of the user's."""
    return field(default_factory=dict, metadata={"by_name": part})


def list_of(part: type) -> Any:
    """A field that holds a list of ``part``, a dataclass; empty by default."""
    return field(default=(), metadata={"list_of": part})


def location(default: object = MISSING, **metadata: object) -> Any:
    """A field of text that may be a path; a config expands ``~`` at its beginning to the home folder."""
    return field(default=default, metadata={"location": True, **metadata})


def expand_home(text: str) -> str:
    """``text`` with ``~`` at its beginning expanded; as it is if there is no such user."""
    return os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises there


def refuse(**wrong: object) -> None:
    """Raise one error for all keys whose value is not empty: it is what the key must be.

    Raises:
        ConfigError: with a line a key.
    """
    problems = [f"{key}: {must}" for key, must in wrong.items() if must]
    if problems:
        raise ConfigError.of(problems)


def folder_name(name: str) -> str:
    """What is wrong with ``name`` as the name of a folder; empty if nothing is."""
    if len(name.encode(errors="replace")) > _LONGEST:
        return f"must be at most {_LONGEST} bytes long, got {len(name.encode(errors='replace'))}"
    plain = re.fullmatch(r"[^/\\\s\x00-\x1f]([^/\\\x00-\x1f]*[^/\\\s\x00-\x1f])?", name)
    return "" if plain and name not in {".", ".."} else f"must be the name of a folder, without slashes, got {name!r}"


def at_least(least: float, value: float) -> str:
    """What is wrong with a value that must be ``least`` or more; empty if nothing is."""
    return "" if value >= least else f"must be at least {least}, got {value}"


def above_zero(value: float) -> str:
    """What is wrong with a value that must be above 0; empty if nothing is."""
    return "" if value > 0 else f"must be above 0, got {value}"


def share(value: float) -> str:
    """What is wrong with a value that must lie between 0 and 1, both included; empty if nothing is."""
    return "" if 0 <= value <= 1 else f"must be a share from 0 to 1, got {value}"
