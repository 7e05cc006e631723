"""``gradret show``: list components, and show the documentation of components and config keys."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any

from gradret import components
from gradret.commands.keys import keys, keys_below, keys_of_components, text_of
from gradret.errors import ConfigError

__all__ = ["Description", "describe"]


@dataclass(frozen=True)
class Description:
    """A description, as text and as data for JSON."""

    text: str
    data: Any


def describe(kind: str | None = None, name: str | None = None) -> Description:
    """Describe all kinds of components, the components of one kind, one component, or keys of the config.

    Args:
        kind: a kind of component, or a config key or block, such as ``train.learning_rate`` or ``train``.
        name: a component of the kind.

    Raises:
        ConfigError: the kind, component or key does not exist.
    """
    if kind is None:
        data = {each: components.names(each) for each in components.KINDS}
        return Description("\n".join(f"{each:<12} {', '.join(names)}" for each, names in data.items()), data)
    if kind not in components.KINDS:
        return _keys(kind)
    if name is None:
        lines = {each: _summary(components.find(kind, each)) for each in components.names(kind)}
        width = max(map(len, lines))
        return Description("\n".join(f"{each:<{width}}  {line}" for each, line in lines.items()), lines)
    return _page(kind, name)


def _keys(key: str) -> Description:
    found = keys_below(key)
    if not found:
        block, dot, _ = key.partition(".")
        known = [each.key for each in keys_below(block) or keys()] if dot else [*components.KINDS, *_blocks()]
        known = [each.key for each in keys() if each.key.rpartition(".")[2] == key] or known
        known = sorted({each.key for each in keys_of_components(key)}) or known
        raise ConfigError(components.unknown(key, known, "a kind of component or a config key"))
    return Description(text_of(found), [asdict(each) for each in found])


def _blocks() -> list[str]:
    return list(dict.fromkeys(each.key.partition(".")[0] for each in keys()))


def _summary(component: type) -> str:
    return (inspect.getdoc(component) or "").partition("\n")[0]


def _page(kind: str, name: str) -> Description:
    component = components.find(kind, name)
    doc = inspect.getdoc(component) or ""
    rows = _rows(component)
    lines = [f"{kind} {name}", "", doc, "", "Fields:"]
    for row in rows:
        default = "(required)" if row["required"] else f"= {row['default']!r}"
        lines += [f"  {row['field']}: {row['type']} {default}", *(f"      {line}" for line in row["doc"].splitlines())]
    return Description("\n".join(lines), {"kind": kind, "name": name, "doc": doc, "fields": rows})


def _rows(component: type, prefix: str = "") -> list[dict[str, Any]]:
    """One row per field; the fields of a nested dataclass get one row each."""
    docs = components.field_docs(component)
    rows: list[dict[str, Any]] = []
    for field in fields(component):
        produced = MISSING if field.default_factory is MISSING else field.default_factory()
        default = field.metadata.get("default", produced if field.default is MISSING else field.default)
        if is_dataclass(default) and not isinstance(default, type):
            rows += _rows(type(default), f"{prefix}{field.name}.")
            continue
        rows.append(
            {
                "field": f"{prefix}{field.name}",
                "type": str(field.type),
                "default": None if default is MISSING else default,
                "required": default is MISSING,
                "doc": docs.get(field.name, ""),
            }
        )
    return rows
