"""Declare fields of a config, and check their values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass, replace
from typing import Any

from gradret.errors import ConfigError
from gradret.urls import url_problem

__all__ = [
    "above_zero",
    "at_least",
    "by_name",
    "component",
    "expand_home",
    "expanded",
    "folder_name",
    "list_of",
    "location",
    "require",
    "set_home",
    "share",
    "storage_folder",
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


def expanded(value: Any) -> Any:
    """The value of a location, a text, several or none, with each leading ``~`` expanded."""
    if isinstance(value, tuple):
        return tuple(map(expanded, value))
    return expand_home(value) if isinstance(value, str) else value


def set_home(config: Any) -> None:
    """Expand each leading ``~`` in a config and its parts, which may have been built in Python."""
    for name, value in _at_home(config).items():
        object.__setattr__(config, name, value)


def _at_home(config: Any) -> dict[str, Any]:
    """The fields whose value changes."""
    parts = {f.name: getattr(config, f.name) for f in fields(config) if f.init}
    places = {f.name for f in fields(config) if "location" in f.metadata}
    new = {name: expanded(part) if name in places else _part(part) for name, part in parts.items()}
    return {name: part for name, part in new.items() if part != parts[name]}


def _part(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _part(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_part, value))
    changed = _at_home(value) if is_dataclass(value) and not isinstance(value, type) else {}
    return replace(value, **changed) if changed else value


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


def storage_folder(path: str) -> str:
    """The problem with ``path`` as the storage; empty if there is none."""
    if not path.strip():
        return "must not be empty; name a folder"
    # As a path, https://x would be a local folder called https:, and a run's results would be lost with the machine.
    return url_problem(path) if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path) else ""


def at_least(least: float, value: float) -> str:
    """The problem with a value that must be at least ``least``; empty if there is none."""
    return "" if value >= least else f"must be at least {least}, got {value}"


def above_zero(value: float) -> str:
    """The problem with a value that must be above 0; empty if there is none."""
    return "" if value > 0 else f"must be above 0, got {value}"


def share(value: float) -> str:
    """The problem with a value that must be between 0 and 1, both included; empty if there is none."""
    return "" if 0 <= value <= 1 else f"must be a share from 0 to 1, got {value}"
