"""Read YAML with every scalar as written; the type of the field decides its meaning.

PyYAML follows YAML 1.1, where ``010`` is 8, ``1:30`` is 90, ``no`` is false and ``2024_11_29`` is a number. Here
only ``null`` and an empty value have a fixed meaning.
"""

from __future__ import annotations

import json
import re
from typing import Any, NewType

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, ScalarNode

__all__ = ["Plain", "Setting", "is_null", "one_line", "one_line_of", "read", "read_setting"]

_TAG = "tag:yaml.org,2002:"
_DEEPEST = 32


class Plain(str):
    """A scalar without quotes, as written."""

    __slots__ = ()


Setting = NewType("Setting", str)
"""The text after ``key=`` on the command line: the value of a key whose type is not known yet."""


def read(text: str) -> Any:
    """Parse YAML to mappings, lists, ``Plain`` for scalars without quotes, ``str`` for quoted ones, and None.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def read_setting(text: str) -> Any:
    """Parse the value of ``key=value``: as YAML if it is a list, a mapping or quoted, else as plain text.

    Raises:
        yaml.YAMLError: it begins like a list, a mapping or quoted text but is not valid YAML.
    """
    if text.lstrip()[:1] in ("[", "{", '"', "'"):
        return read(text)
    return None if text in _NULLS else Plain(text)


def one_line(value: object) -> Setting:
    """Format ``value`` as it is written after ``key=`` on the command line."""
    if isinstance(value, str):
        return Setting(str(value))
    if not isinstance(value, (dict, list, tuple)):
        return Setting(json.dumps(value))
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return Setting(text.strip())


def one_line_of(error: yaml.YAMLError) -> str:
    """An error of ``read``, whose own text has several lines."""
    mark = getattr(error, "problem_mark", None)
    if not mark:
        return " ".join(str(error).split())
    said = ", ".join(filter(None, [getattr(error, "context", ""), getattr(error, "problem", "")]))
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}"


def is_null(node: object) -> bool:
    """Whether a node is null. ``~`` counts, but not in text fields, where it may be the home folder."""
    return node is None or (isinstance(node, Plain) and node == "~")


_NULLS = ("null", "Null", "NULL")


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth == _DEEPEST:
            raise yaml.YAMLError("nested too deeply")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Dumper(yaml.SafeDumper):
    pass


def _scalar(loader: _Loader, node: ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    return text if node.style else Plain(text)


def _mapping(loader: _Loader, node: MappingNode) -> dict[str, Any]:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise ConstructorError(None, None, "a key must be text", key.start_mark)
        if key.value in seen:
            raise ConstructorError(None, None, f"duplicate key {key.value!r}", key.start_mark)
        seen.add(key.value)
    loader.flatten_mapping(node)  # what `<<: *anchor` merges
    return {key.value: loader.construct_object(value, deep=True) for key, value in node.value}


def _sequence(loader: _Loader, node: Any) -> list[Any]:
    return [loader.construct_object(item, deep=True) for item in node.value]


def _null(_loader: _Loader, _node: Any) -> None:
    return None


def _unknown(_loader: _Loader, node: Any) -> None:
    raise ConstructorError(None, None, f"tags such as {node.tag} are not supported", node.start_mark)


_Loader.yaml_constructors = {}
for _tag in ("str", "int", "float", "bool"):
    _Loader.add_constructor(_TAG + _tag, _scalar)
_Loader.add_constructor(_TAG + "null", _null)
_Loader.add_constructor(_TAG + "map", _mapping)
_Loader.add_constructor(_TAG + "seq", _sequence)
_Loader.add_constructor(None, _unknown)

for _cls in (_Loader, _Dumper):
    _cls.yaml_implicit_resolvers = {}
    _cls.add_implicit_resolver(_TAG + "merge", re.compile("<<$"), ["<"])
    _cls.add_implicit_resolver(_TAG + "null", re.compile(f"({'|'.join(_NULLS)}|)$"), ["n", "N", ""])

_Dumper.add_representer(Plain, lambda dumper, text: dumper.represent_scalar(_TAG + "str", text))
_Dumper.add_representer(dict, lambda dumper, node: dumper.represent_dict([(Plain(key), node[key]) for key in node]))
_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(_TAG + "str", text, style='"'))
for _type in (bool, int, float):
    _Dumper.add_representer(_type, lambda dumper, value: dumper.represent_scalar(_TAG + "str", json.dumps(value)))
