"""Declare fields of a config, and check their values."""

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
    "require",
    "share",
]

_LONGEST = 200
"""Largest folder name in bytes. File systems allow 255, and drafts beside the folder have longer names."""


def component(kind: str, default: object = MISSING, *, many: bool = False) -> Any:
    """A field with a component of ``kind`` or, with ``many``, a list of them.

    ``default`` has the form of the YAML: ``{"name": ...}``, a list of such mappings, or None for an optional
    component.
    """
    metadata = {"kind": kind, "many": many, "default": default}
    return field(metadata=metadata) if default is MISSING else field(default=None, metadata=metadata)


def by_name(part: str | type) -> Any:
    """A field with a mapping from names that the user chooses to components of a kind or instances of a dataclass."""
    return field(default_factory=dict, metadata={"by_name": part})


def list_of(part: type) -> Any:
    """A field with a list of ``part``, a dataclass; empty by default."""
    return field(default=(), metadata={"list_of": part})


def location(default: object = MISSING, **metadata: object) -> Any:
    """A text field that may be a path; a leading ``~`` is expanded to the home folder."""
    return field(default=default, metadata={"location": True, **metadata})


def expand_home(text: str) -> str:
    """Expand a leading ``~``; returns ``text`` unchanged if there is no such user."""
    return os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises there


def require(**problems_by_key: object) -> None:
    """Raise one error for all keys that have a problem, as in ``require(k=at_least(1, self.k))``.

    Args:
        problems_by_key: what is wrong with the value of each key; empty if nothing is.

    Raises:
        ConfigError: at least one key has a problem; one line each.
    """
    problems = [f"{key}: {problem}" for key, problem in problems_by_key.items() if problem]
    if problems:
        raise ConfigError.of(problems)


def folder_name(name: str) -> str:
    """The problem with ``name`` as the name of a folder; empty if there is none."""
    if len(name.encode(errors="replace")) > _LONGEST:
        return f"must be at most {_LONGEST} bytes long, got {len(name.encode(errors='replace'))}"
    plain = re.fullmatch(r"[^/\\\s\x00-\x1f]([^/\\\x00-\x1f]*[^/\\\s\x00-\x1f])?", name)
    return "" if plain and name not in {".", ".."} else f"must be the name of a folder, without slashes, got {name!r}"


def at_least(least: float, value: float) -> str:
    """The problem with a value that must be at least ``least``; empty if there is none."""
    return "" if value >= least else f"must be at least {least}, got {value}"


def above_zero(value: float) -> str:
    """The problem with a value that must be above 0; empty if there is none."""
    return "" if value > 0 else f"must be above 0, got {value}"


def share(value: float) -> str:
    """The problem with a value that must be between 0 and 1, both included; empty if there is none."""
    return "" if 0 <= value <= 1 else f"must be a share from 0 to 1, got {value}"
