"""Build a config from plain mappings, and report all errors at once.

The rules of a field are in its metadata: see ``gradret.config.fields``.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar

from gradret import components
from gradret.config.elsewhere import unknown_key
from gradret.config.fields import expanded
from gradret.config.values import convert
from gradret.config.written import is_null
from gradret.errors import ConfigError

__all__ = ["build"]

_C = TypeVar("_C")


def build(cls: type[_C], tree: object, problems: Sequence[str] = ()) -> _C:
    """Build an instance of the config class ``cls``.

    Components from outside gradret are imported only if there is no other error, since importing runs their code.

    Args:
        cls: a frozen dataclass such as ``Config``.
        tree: plain mappings and lists, with scalars as written or as Python values.
        problems: errors found before.

    Raises:
        ConfigError: keys or values are wrong; names all of them.
    """
    for imports in (False, True):
        builder = _Builder(cls, imports=imports)
        try:
            config = builder.build(cls, tree, "")
        except RecursionError:
            raise ConfigError("the config is nested too deeply") from None
        errors = [*problems, *(problem for problem in builder.problems if not isinstance(problem, _NotImported))]
        if errors:
            raise ConfigError.of(errors)
        if not builder.problems:
            break
    return typing.cast("_C", config)


class _NotImported(str):
    """Marks, among the problems, a component that is not imported yet."""

    __slots__ = ()


class _Builder:
    """Builds dataclasses from mappings. ``where`` is the key of the value being built, such as ``train.loss[0]``."""

    def __init__(self, root: type, *, imports: bool) -> None:
        self.root, self.imports = root, imports
        self.problems: list[str] = []

    def build(self, cls: type, node: object, where: str, default: object = None) -> object | None:
        """Build dataclass ``cls``; on errors, returns None and adds to ``problems``.

        Fields that ``node`` leaves out are those of ``default``, an instance; without it, the class's.
        """
        node = {} if is_null(node) else node
        if not isinstance(node, Mapping):
            self.problems.append(f"{where or 'config'}: expected a mapping of keys, got {node!r}")
            return None
        known = {f.name: f for f in fields(cls)}
        for key in map(str, node):
            if key not in known:
                self.problems.append(f"{_join(where, key)}: {unknown_key(key, where, list(known), self.root)}")
        hints = typing.get_type_hints(cls)
        values, broken = {}, set()
        for name, f in known.items():
            before = len(self.problems)
            value = self._field(f, hints[name], node.get(name, MISSING), _join(where, name))
            if len(self.problems) > before:
                broken.add(name)
            elif value is not MISSING:
                values[name] = value
            elif default is not None:
                values[name] = getattr(default, name)
        # Built even if some fields are broken, to report values out of range of the others at once.
        required = {name for name in broken if _is_required(known[name])}
        if any("kind" not in known[name].metadata for name in required):
            return None
        return self._instance(cls, values | dict.fromkeys(required), broken, where)

    def _instance(self, cls: type, values: Mapping[str, object], broken: set[str], where: str) -> object | None:
        try:
            return typing.cast("object", cls(**values))
        except ValueError as error:
            for problem in getattr(error, "problems", None) or [str(error)]:
                key = re.match(r"\w*", problem)[0]  # type: ignore[index]
                if key not in broken:
                    of_field = key in {f.name for f in fields(cls)}
                    self.problems.append(_join(where, problem) if of_field else f"{where or 'config'}: {problem}")
            return None

    def _field(self, f: Field[Any], hint: Any, node: object, where: str) -> object:
        """The value of one field; MISSING means the dataclass's default."""
        node = None if hint is not str and is_null(node) else node
        if "kind" in f.metadata:
            return self._component_field(f, node, where)
        for key, build_all in (("list_of", self._list), ("by_name", self._by_name)):
            if key in f.metadata:
                return () if node is MISSING or node is None else build_all(f.metadata[key], node, where)
        if is_dataclass(hint):
            default = None if f.default is MISSING else f.default
            return self.build(typing.cast("type", hint), {} if node is MISSING else node, where, default)
        if node is MISSING:
            if _is_required(f):
                self.problems.append(f"{where}: is required")
            return MISSING
        value = self._checked(convert, hint, node, f"{where}: ")
        return expanded(value) if "location" in f.metadata else value

    def _component_field(self, f: Field[Any], node: object, where: str) -> object:
        """The value of a field that holds a component, or several."""
        default = f.metadata["default"]
        node = default if node is MISSING or node is None else node
        if node is MISSING:
            self.problems.append(f"{where}: is required, for example {where}.name=...")
            return MISSING
        if isinstance(node, Mapping) and "name" not in node and isinstance(default, Mapping):
            node = {**default, **node}
        build_all = self._components if f.metadata["many"] else self._component
        return None if node is None else build_all(f.metadata["kind"], node, where)

    def _components(self, kind: str, node: object, where: str) -> object:
        if not isinstance(node, Sequence) or isinstance(node, str) or not node:
            self.problems.append(f"{where}: expected a list of components such as [{{name: ...}}], got {node!r}")
            return MISSING
        return tuple(self._component(kind, item, f"{where}[{number}]") for number, item in enumerate(node))

    def _list(self, part: type, node: object, where: str) -> object:
        if not isinstance(node, Sequence) or isinstance(node, str):
            self.problems.append(f"{where}: expected a list of mappings, got {node!r}")
            return MISSING
        return tuple(self.build(part, item, f"{where}[{number}]") for number, item in enumerate(node))

    def _by_name(self, part: str | type, node: object, where: str) -> object:
        if not isinstance(node, Mapping):
            self.problems.append(f"{where}: expected a mapping with names as keys, got {node!r}")
            return MISSING
        build: Any = self._component if isinstance(part, str) else self.build
        # NAME=null on the command line removes an entry.
        kept = {str(name): item for name, item in node.items() if not is_null(item)}
        return {name: build(part, item, _join(where, name)) for name, item in kept.items()}

    def _component(self, kind: str, node: object, where: str) -> object:
        node = {"name": node} if isinstance(node, str) else node
        if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
            text = f"{where}: expected {{name: ...}} with the name of one of the {kind}, got {node!r}"
            self.problems.append(f"{text}{_names_with(kind, node)}")
            return MISSING
        name = str(node["name"])
        if ":" in name and not self.imports:
            self.problems.append(_NotImported(where))
            return MISSING
        cls = self._checked(components.find, kind, name, f"{where}.name: ")
        if cls is MISSING:
            return MISSING
        return self.build(typing.cast("type", cls), {key: value for key, value in node.items() if key != "name"}, where)

    def _checked(self, find: Any, first: Any, second: Any, where: str) -> object:
        """The result of ``find``; MISSING, and a problem, if it raises."""
        try:
            return find(first, second)
        except ConfigError as error:
            self.problems.append(f"{where}{error}")
            return MISSING


def _is_required(f: Field[Any]) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _names_with(kind: str, node: object) -> str:
    """The components of ``kind`` that have all keys of ``node``, as a hint."""
    if not isinstance(node, Mapping) or not node or "name" in node:
        return ""
    having = [
        name
        for name in components.names(kind)
        if {str(key) for key in node} <= {f.name for f in fields(components.find(kind, name))}
    ]
    return f"; {', '.join(map(str, node))}: of {', '.join(having)}" if having else ""
