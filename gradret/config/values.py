"""Convert a value of a config to the type of its field.

Text stays as written. Numbers must be plain decimals: ``010``, ``1_000`` and ``1:30``, which YAML parsers read as
different numbers, are errors.
"""

from __future__ import annotations

import contextlib
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from gradret.config.fields import expand_home
from gradret.config.written import Plain, Setting, is_null, one_line
from gradret.errors import ConfigError

__all__ = ["convert"]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def convert(hint: Any, node: object) -> object:
    """Convert ``node`` to type ``hint``.

    Args:
        hint: the field's type: int, float, bool, str, Path, Literal, Any, a union, or a tuple, list or dict of these.
        node: from ``gradret.config.written.read``, or a plain Python value.

    Raises:
        ConfigError: it is not such a value; says what was expected and what came.
    """
    try:
        return _convert(hint, node)
    except ConfigError:
        raise
    except ValueError:
        raise ConfigError(f"expected {_type_name(hint)}, got {node!r}") from None


def _convert(hint: Any, node: object) -> object:
    if hint in _SCALARS:
        return _SCALARS[hint](node)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return parts[parts.index(node)]
    if origin in (Union, types.UnionType):
        return _union(parts, node)
    if origin is dict:
        return {str(key): _convert(parts[1], value) for key, value in _expect(node, Mapping).items()}
    if origin in (list, tuple):
        items = _expect(node, Sequence)
        hints = parts[:1] * len(items) if origin is list or parts[-1] is Ellipsis else parts
        return origin(_convert(part, item) for part, item in zip(hints, items, strict=True))
    raise ConfigError(f"a field of type {_type_name(hint)} cannot be set from a config")


def _union(hints: Sequence[Any], node: object) -> object:
    """Convert to the first type that fits; None for null if the union includes it."""
    if type(None) in hints and is_null(node):
        return None
    for hint in hints:
        if hint is not type(None):
            with contextlib.suppress(ValueError):
                return _convert(hint, node)
    raise ValueError


def _expect(node: object, kind: type) -> Any:
    if isinstance(node, str) or not isinstance(node, kind):
        raise ValueError  # noqa: TRY004 - convert adds what was expected
    return node


def _int(node: object) -> int:
    if isinstance(node, str) and _INT.fullmatch(node):
        node = int(node)
    if type(node) is not int or abs(node) >= 1 << 63:
        raise ValueError
    return node


def _float(node: object) -> float:
    if isinstance(node, str):
        if not _FLOAT.fullmatch(node):
            raise ValueError
    elif type(node) not in (int, float):
        raise ValueError
    number = float(node)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ConfigError(f"expected a finite number, got {node!r}")
    return number


def _bool(node: object) -> bool:
    if isinstance(node, str):
        node = _BOOLS.get(node)
    if type(node) is not bool:
        raise ValueError
    return node


def _text(node: object) -> str:
    if type(node) is not int and not isinstance(node, str):
        raise ValueError
    text = str(node)
    if "\0" in text:
        raise ConfigError(f"must not contain a NUL character, got {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"must be valid Unicode, got {text!r}") from None
    return text


def _any(node: object) -> object:
    """A value of a field without a type: number, boolean or null if it looks like one, else text."""
    if isinstance(node, Mapping):
        return {str(key): _any(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_any(item) for item in node]
    if not isinstance(node, str):
        return node
    return _union((int, float, bool, str, type(None)), node) if isinstance(node, Plain) else _text(node)


_SCALARS: dict[Any, Callable[[Any], object]] = {
    int: _int,
    float: _float,
    bool: _bool,
    str: _text,
    Path: lambda node: Path(expand_home(_text(node))),
    Setting: one_line,
    Any: _any,
}


def _type_name(hint: Any) -> str:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return hint.__name__
    return str(hint).replace("typing.", "")
