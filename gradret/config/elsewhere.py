"""Say where a key that is at the wrong place belongs: ``learning_rate`` is ``train.learning_rate``."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass

from gradret import components

__all__ = ["unknown_key"]

_SHOWN = 4


def unknown_key(key: str, where: str, known: list[str], root: type) -> str:
    """The message for ``key``, unknown in the block ``where``: its places elsewhere, a similar key there, or all keys.

    Args:
        key: the key as it was given.
        where: the full key of its block; empty at the top.
        known: the keys of that block.
        root: the class of the whole config.
    """
    places = _places(key, root)
    places = [place for place in places if place.startswith(f"{where}.")] or places
    if not places:
        return components.unknown(key, known, "a key here")
    return f"{key!r} is not a key here; did you mean {' or '.join(map(repr, places[:_SHOWN]))}?"


def _places(key: str, root: type) -> list[str]:
    """Full keys that end in ``key``: those of blocks, else those of the components that are the default."""
    blocks = [place for place, _ in _blocks(root, "") if place.rpartition(".")[2] == key]
    return blocks or [
        f"{place}.{key}"
        for place, component in _blocks(root, "")
        if component and any(f.name == key for f in fields(component))
    ]


def _blocks(cls: type, prefix: str) -> Iterator[tuple[str, type | None]]:
    """Every key of a config class and its blocks; with the class of the default, if it holds one component."""
    hints = typing.get_type_hints(cls)
    for f in fields(cls):
        place, default = f"{prefix}{f.name}", f.metadata.get("default", MISSING)
        held = isinstance(default, dict) and not f.metadata.get("many")
        yield place, components.find(f.metadata["kind"], default["name"]) if held else None
        if is_dataclass(hints[f.name]):
            yield from _blocks(typing.cast("type", hints[f.name]), f"{place}.")
