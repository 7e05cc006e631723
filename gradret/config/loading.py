"""Read a config: defaults < YAML < command line.

All errors are found before the first is raised, each with its key and, where a name is close to a
known one, a suggestion.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, TypeVar

from gradret import components
from gradret.config.run import Config
from gradret.errors import ConfigError

__all__ = ["load", "load_as", "override", "parse", "read_yaml", "to_yaml"]

_C = TypeVar("_C")


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read the YAML file of a run and apply ``key=value`` overrides in order.

    Args:
        path: the YAML file.
        overrides: such as ``train.loss[1].weight=0.2`` or ``dataset.name=beir``.

    Raises:
        ConfigError: the file cannot be read, or keys or values are wrong; all are named.
    """
    if "datasets" in read_yaml(path):
        raise ConfigError(f"{path} is the config of an evaluation; gradret evaluate {path} runs it")
    return load_as(Config, path, overrides)


def load_as(cls: type[_C], path: str | Path, overrides: Sequence[str] = ()) -> _C:
    """Read a YAML file of any config, a frozen dataclass such as ``Config``.

    Raises:
        ConfigError: the file cannot be read, or keys or values are wrong; all are named.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    tree = OmegaConf.create(_with_defaults(cls, read_yaml(path)))
    whole = {f.name for f in fields(cls) if "by_name" in f.metadata}  # type: ignore[arg-type]
    problems = [problem for override in overrides for problem in _apply(tree, override, whole)]
    try:
        plain = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError.of([*problems, f"{path}: {str(error).splitlines()[0]}"]) from error
    return _parse(cls, plain, problems)


def parse(tree: object) -> Config:
    """A config from plain mappings.

    Raises:
        ConfigError: keys or values are wrong; all are named.
    """
    return _parse(Config, tree, [])


def override(config: Config, overrides: Sequence[str]) -> Config:
    """``config`` with ``key=value`` overrides applied in order.

    Raises:
        ConfigError: keys or values are wrong; all are named.
    """
    from omegaconf import OmegaConf

    tree = OmegaConf.create(_plain(config))
    problems = [problem for one in overrides for problem in _apply(tree, one, ())]
    return _parse(Config, OmegaConf.to_container(tree, resolve=True), problems)


def _parse(cls: type[_C], tree: object, problems: list[str]) -> _C:
    config = _build(cls, tree, "", problems)
    if problems:
        raise ConfigError.of(problems)
    return typing.cast("_C", config)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """What a YAML file holds, as it stands there.

    Raises:
        ConfigError: the file cannot be read or is not a mapping.
    """
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        tree = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"no config file at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(tree, DictConfig):
        raise ConfigError(f"{path} is not a mapping of keys such as name: and dataset:")
    return typing.cast("dict[str, Any]", OmegaConf.to_container(tree, resolve=False))


def _with_defaults(cls: type, node: Any) -> Any:
    """``node`` with all defaults of ``cls`` written out, so that an override can name a part of one."""
    if not isinstance(node, Mapping):
        return node
    hints = typing.get_type_hints(cls)
    filled = dict(node)
    for f in fields(cls):
        given = node.get(f.name)
        if "kind" in f.metadata:
            if given is None and f.metadata["default"] is not MISSING:
                filled[f.name] = copy.deepcopy(f.metadata["default"])
        elif is_dataclass(hints[f.name]):
            filled[f.name] = _with_defaults(typing.cast("type", hints[f.name]), {} if given is None else given)
    return filled


def _apply(tree: Any, override: str, whole: Collection[str]) -> list[str]:
    """Set one ``key=value`` in the tree; returns what is wrong with it.

    A mapping is merged with what is there; a component, and what a key of ``whole`` holds, is replaced.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    key, equals, value = override.partition("=")
    parts = key.replace("[", ".").replace("]", "").split(".")
    if not equals or not all(part and part == part.strip() for part in parts):
        return [f"{override!r}: expected key=value, such as train.loss[1].weight=0.2"]
    try:
        new = OmegaConf.from_dotlist([f"value={value}"]).value
        replaced = key in whole or (isinstance(new, Mapping) and "name" in new)
        OmegaConf.update(tree, key, new, merge=not replaced)
    except (OmegaConfBaseException, YAMLError, ValueError, TypeError, IndexError) as error:
        return [f"{override!r}: {str(error).splitlines()[0]}"]
    return []


def to_yaml(config: object) -> str:
    """The resolved config, every default written out; ``load`` reads it back to an equal one."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(_plain(config)))


def _plain(value: object, *, named: bool = False) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        head = {"name": components.name_of(value)} if named else {}
        return head | {f.name: _plain(getattr(value, f.name), named=_holds_components(f)) for f in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item, named=named) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item, named=named) for name, item in value.items()}
    return value


def _holds_components(f: dataclasses.Field[Any]) -> bool:
    return "kind" in f.metadata or isinstance(f.metadata.get("by_name"), str)


def _build(cls: type, node: object, where: str, problems: list[str]) -> object | None:
    """An instance of dataclass ``cls`` from a mapping; None, and problems, where there cannot be one."""
    if node is None:
        node = {}
    if not isinstance(node, Mapping):
        problems.append(f"{where or 'config'}: expected a mapping of keys, got {node!r}")
        return None
    known = {f.name: f for f in fields(cls)}
    problems += [
        f"{_join(where, str(key))}: {components.unknown(str(key), list(known), 'a key here')}"
        for key in node
        if key not in known
    ]
    hints = typing.get_type_hints(cls)
    values, broken = {}, set()
    for name, f in known.items():
        before = len(problems)
        value = _value(f, hints[name], node.get(name, MISSING), _join(where, name), problems)
        if len(problems) > before:
            broken.add(name)
        elif value is not MISSING:
            values[name] = value
    # Made also where something is broken: the rest may be out of range, and all is to be said at once.
    required = {name for name in broken if known[name].default is known[name].default_factory is MISSING}
    if any("kind" not in known[name].metadata for name in required):
        return None
    values |= dict.fromkeys(required)
    try:
        built = typing.cast("object", cls(**values))
    except ValueError as error:
        for problem in getattr(error, "problems", None) or [str(error)]:
            head = re.match(r"\w*", problem)[0]  # type: ignore[index]
            if head not in broken:
                problems.append(_join(where, problem) if head in known else f"{where or 'config'}: {problem}")
        return None
    return built


def _value(f: dataclasses.Field[Any], hint: Any, node: object, where: str, problems: list[str]) -> object:
    """The value of one field; MISSING leaves it to the dataclass's default."""
    if "kind" in f.metadata:
        default = f.metadata["default"]
        node = default if node is MISSING or node is None else node
        if node is MISSING:
            problems.append(f"{where}: is required, for example {where}.name=...")
            return MISSING
        if isinstance(node, Mapping) and "name" not in node and isinstance(default, Mapping):
            node = {**default, **node}
        build = _components if f.metadata["many"] else _component
        return None if node is None else build(f.metadata["kind"], node, where, problems)
    for key, build_all in (("list_of", _list), ("by_name", _by_name)):
        if key in f.metadata:
            return () if node is MISSING or node is None else build_all(f.metadata[key], node, where, problems)
    if is_dataclass(hint):
        return _build(typing.cast("type", hint), {} if node is MISSING else node, where, problems)
    if node is MISSING:
        if f.default is MISSING and f.default_factory is MISSING:
            problems.append(f"{where}: is required")
        return MISSING
    return _leaf(hint, node, where, problems)


def _components(kind: str, node: object, where: str, problems: list[str]) -> object:
    if not isinstance(node, Sequence) or isinstance(node, str) or not node:
        problems.append(f"{where}: expected a list of components such as [{{name: ...}}], got {node!r}")
        return MISSING
    return tuple(_component(kind, item, f"{where}[{number}]", problems) for number, item in enumerate(node))


def _list(part: type, node: object, where: str, problems: list[str]) -> object:
    if not isinstance(node, Sequence) or isinstance(node, str):
        problems.append(f"{where}: expected a list of mappings, got {node!r}")
        return MISSING
    return tuple(_build(part, item, f"{where}[{number}]", problems) for number, item in enumerate(node))


def _by_name(part: str | type, node: object, where: str, problems: list[str]) -> object:
    if not isinstance(node, Mapping):
        problems.append(f"{where}: expected a mapping from names, got {node!r}")
        return MISSING
    built = {}
    for name, item in node.items():
        if item is not None:  # NAME=null on the command line takes one away
            place = _join(where, str(name))
            of = functools.partial(_component, part) if isinstance(part, str) else functools.partial(_build, part)
            built[str(name)] = of(item, place, problems)
    return built


def _component(kind: str, node: object, where: str, problems: list[str]) -> object:
    if isinstance(node, str):
        node = {"name": node}
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
        problems.append(f"{where}: expected {{name: ...}} with the name of one of the {kind}, got {node!r}")
        return MISSING
    try:
        cls = components.find(kind, node["name"])
    except ConfigError as error:
        problems.append(f"{where}.name: {error}")
        return MISSING
    return _build(cls, {key: value for key, value in node.items() if key != "name"}, where, problems)


def _leaf(hint: Any, node: object, where: str, problems: list[str]) -> object:
    """A plain value, converted and checked by OmegaConf as a structured config would."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    holder = OmegaConf.structured(make_dataclass("Holder", [("value", hint)]))
    try:
        OmegaConf.update(holder, "value", node)
        value = OmegaConf.to_container(holder)["value"]  # type: ignore[index, call-overload]
    except (OmegaConfBaseException, ValueError, TypeError):
        problems.append(f"{where}: expected {_type_name(hint)}, got {node!r}")
        return MISSING
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(f"{where}: expected a finite number, got {node!r}")
        return MISSING
    return tuple(value) if isinstance(value, list) else value


def _type_name(hint: Any) -> str:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return hint.__name__
    return str(hint).replace("typing.", "")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
