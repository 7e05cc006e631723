"""Describe the keys of a run's config: type, default and meaning, from the fields and their documentation."""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

from gradret import components

__all__ = ["Key", "keys", "keys_below", "keys_of_components", "text_of"]


@dataclass(frozen=True)
class Key:
    """A key of the config."""

    key: str
    type: str
    default: Any
    """None also if the key is required."""
    required: bool
    doc: str
    of: str = ""
    """The component that has the key, or the kind whose components the key takes."""


@functools.cache
def keys() -> tuple[Key, ...]:
    """Every key of a run's config, without those of components."""
    from gradret.config.run import Config

    return tuple(_keys(Config, ""))


def keys_below(key: str) -> list[Key]:
    """The keys that ``key`` names: itself, those of its block, or a component's; empty if there is no such key.

    A key of a component, such as ``train.encoder.model``, is looked up in all components of the kind.
    """
    known = keys()
    exact = [each for each in known if each.key == key] or [each for each in known if each.key.startswith(f"{key}.")]
    if exact:
        return exact
    plain = ".".join(part.partition("[")[0] for part in key.split("."))
    return [each for each in keys_of_components(key) if each.key == plain]


def keys_of_components(key: str) -> list[Key]:
    """The keys of all components of the kind that ``key`` begins with, whatever follows it; empty if it is none."""
    return [
        component_key
        for holder in keys()
        if holder.of and key.startswith((f"{holder.key}.", f"{holder.key}["))
        for name in components.names(holder.of)
        for component_key in _keys(components.find(holder.of, name), f"{holder.key}.", f"{holder.of} {name}")
    ]


def text_of(found: list[Key]) -> str:
    """The keys in full if they are one, or one key of several components; else a line each."""
    if len({each.key for each in found}) == 1:
        return "\n\n".join(map(_full, found))
    width = max(len(each.key) for each in found)
    return "\n".join(f"{each.key:<{width}}  {_default(each)}  {each.doc.partition('. ')[0]}".rstrip() for each in found)


def _keys(cls: type, prefix: str, of: str = "") -> Iterator[Key]:
    docs, hints = components.field_docs(cls), typing.get_type_hints(cls)
    for each in fields(cls):
        name = f"{prefix}{each.name}"
        if is_dataclass(hints[each.name]):
            yield from _keys(typing.cast("type", hints[each.name]), f"{name}.", of)
            continue
        default = _default_of(each)
        kind = each.metadata.get("kind", "")
        yield Key(
            key=name,
            type=_type(each, kind),
            default=None if default is MISSING else default,
            required=default is MISSING,
            doc=" ".join(docs.get(each.name, "").split()),
            of=of or kind,
        )


def _default_of(each: Field[Any]) -> Any:
    if "default" in each.metadata:
        return each.metadata["default"]
    return each.default if each.default_factory is MISSING else each.default_factory()


def _type(each: Field[Any], kind: str) -> str:
    if not kind:
        return str(each.type)
    return f"a list of {kind}" if each.metadata["many"] else f"one of the {kind}"


def _full(each: Key) -> str:
    lines = [f"{each.key}: {each.type} {_default(each)}", *([f"    {each.doc}"] if each.doc else [])]
    if each.of and " " in each.of:
        lines.append(f"    of {each.of}")
    elif each.of:
        lines.append(f"    {each.of}: {', '.join(components.names(each.of))}; gradret show {each.of}")
    return "\n".join(lines)


def _default(each: Key) -> str:
    return "(required)" if each.required else f"= {each.default!r}"
