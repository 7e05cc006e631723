"""Read a config: defaults < YAML < command line.

All errors are reported at once, each with its key and, if a name is close to a known one, a suggestion.
"""

from __future__ import annotations

import copy
import difflib
import re
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gradret import components
from gradret.config.building import build
from gradret.config.run import Config
from gradret.config.written import is_null
from gradret.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf.errors import OmegaConfBaseException

__all__ = ["load", "load_as", "override", "parse", "read_yaml", "short", "to_yaml"]

_C = TypeVar("_C")
_PART = r"[^\s.\[\]]([^.\[\]]*[^\s.\[\]])?"
_KEY = re.compile(rf"{_PART}(\.{_PART}|\[{_PART}\]){{0,31}}")


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read the YAML file of a run and apply ``key=value`` overrides in order.

    Args:
        path: the YAML file.
        overrides: such as ``train.loss[1].weight=0.2`` or ``dataset.name=beir``.

    Raises:
        ConfigError: the file cannot be read, or keys or values are wrong; names all of them.
    """
    if "datasets" in read_yaml(path):
        raise ConfigError(f"{path} is the config of an evaluation; run it with: gradret evaluate {path}")
    return load_as(Config, path, overrides)


def load_as(cls: type[_C], path: str | Path, overrides: Sequence[str] = ()) -> _C:
    """Read a YAML file as any config class, a frozen dataclass such as ``Config``.

    Raises:
        ConfigError: the file cannot be read, or keys or values are wrong; names all of them.
    """
    tree = _tree(_with_defaults(cls, read_yaml(path)))
    whole = {f.name for f in fields(cls) if "by_name" in f.metadata}  # type: ignore[arg-type]
    problems = [problem for override in overrides for problem in _apply(tree, override, whole)]
    return build(cls, _resolved(tree, problems), problems)


def parse(tree: object) -> Config:
    """Build a config from plain mappings.

    Raises:
        ConfigError: keys or values are wrong; names all of them.
    """
    return build(Config, tree)


def override(config: Config, overrides: Sequence[str]) -> Config:
    """Apply ``key=value`` overrides to ``config``, in order.

    Raises:
        ConfigError: keys or values are wrong; names all of them.
    """
    tree = _tree(_plain(config))
    problems = [problem for text in overrides for problem in _apply(tree, text, ())]
    return build(Config, _resolved(tree, problems), problems)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The content of a YAML file, without defaults or interpolation.

    Raises:
        ConfigError: the file cannot be read or is not a mapping.
    """
    from yaml import YAMLError

    from gradret.config.written import one_line_of, read

    try:
        tree = read(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"no config file at {path}{_near_file(Path(path))}") from None
    except YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line_of(error)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(tree, dict | None):
        raise ConfigError(f"{path} is not a mapping of keys; expected keys such as name: and dataset:")
    return tree or {}


def _near_file(path: Path) -> str:
    """A file of a similar name in the same folder, as a question; empty if there is none."""
    names = [each.name for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1) or difflib.get_close_matches(
        f"{path.name}.yaml", names, n=1
    )
    return f"; did you mean {path.with_name(near[0])}?" if near else ""


def to_yaml(config: object) -> str:
    """The resolved config with every default written out; ``load`` reads back an equal config."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(_plain(config)))


def _tree(node: Any) -> Any:
    """An OmegaConf tree, which resolves ``${key}`` and can be updated by key; scalars stay as written."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.create(node, flags={"allow_objects": True})
    except OmegaConfBaseException as error:
        raise ConfigError.of([_unresolved(error)]) from error


def _resolved(tree: Any, problems: Sequence[str]) -> Any:
    """Plain mappings and lists, with every ``${key}`` resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if unresolved := list(_all_unresolved(tree)):
        raise ConfigError.of([*problems, *unresolved])
    try:
        return OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError.of([*problems, _unresolved(error)]) from error


def _all_unresolved(tree: Any) -> Iterator[str]:
    """What is wrong with each value of an OmegaConf tree that is ``???`` or does not resolve."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for key in range(len(tree)) if OmegaConf.is_list(tree) else tree:
        try:
            child = tree[key]
        except OmegaConfBaseException as error:
            yield _unresolved(error)
            continue
        if OmegaConf.is_config(child) and not OmegaConf.is_interpolation(tree, key):
            yield from _all_unresolved(child)


def _unresolved(error: OmegaConfBaseException) -> str:
    from omegaconf.errors import MissingMandatoryValue

    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}: ??? marks a value that must be set; set it"
    return f"{error.full_key}: {str(error).splitlines()[0]}; to write ${{ as text, escape it as \\${{"


def _with_defaults(cls: type, node: Any) -> Any:
    """``node`` with all defaults of ``cls`` written out, so that an override can set a part of a default."""
    if not isinstance(node, Mapping):
        return node
    hints = typing.get_type_hints(cls)
    filled = dict(node)
    for f in fields(cls):
        child = node.get(f.name)
        if "kind" in f.metadata:
            if is_null(child) and f.metadata["default"] is not MISSING:
                filled[f.name] = copy.deepcopy(f.metadata["default"])
        elif is_dataclass(hints[f.name]):
            filled[f.name] = _with_defaults(typing.cast("type", hints[f.name]), {} if is_null(child) else child)
    return filled


def _apply(tree: Any, override: str, whole: Collection[str]) -> list[str]:
    """Set one ``key=value`` in the tree; returns its problems.

    A mapping is merged into the old value, but a component, or the value of a key in ``whole``, is replaced.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from gradret.config.written import one_line_of, read_setting

    key, equals, value = override.partition("=")
    if not equals or not _KEY.fullmatch(key):
        return [f"{override!r}: expected key=value, such as train.loss[1].weight=0.2"]
    try:
        new = read_setting(value)
        parent = key.rpartition(".")[0]
        if parent and isinstance(short := OmegaConf.select(tree, parent), str):
            OmegaConf.update(tree, parent, {"name": short})
        replaced = key in whole or (isinstance(new, Mapping) and "name" in new)
        OmegaConf.update(tree, key, new, merge=not replaced)
    except YAMLError as error:
        return [f"{override!r}: {one_line_of(error)}"]
    except (OmegaConfBaseException, ValueError, TypeError, IndexError) as error:
        return [f"{override!r}: {str(error).splitlines()[0]}"]
    return []


def _plain(value: object, *, named: bool = False) -> Any:
    """A config as mappings, lists and scalars, with ``${`` in texts escaped."""
    if is_dataclass(value) and not isinstance(value, type):
        head = {"name": components.name_of(value)} if named else {}
        return head | {f.name: _plain(getattr(value, f.name), named=_holds_components(f)) for f in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item, named=named) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item, named=named) for name, item in value.items()}
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def short(component: object) -> dict[str, Any]:
    """A component as a mapping, without ``resources`` and what is the default."""
    written: dict[str, Any] = {"name": components.name_of(component)}
    for f in fields(component):  # type: ignore[arg-type]
        value, default = getattr(component, f.name), f.default
        if "kind" in f.metadata and value is not None:
            value = [short(each) for each in value] if f.metadata["many"] else short(value)
            default = f.metadata["default"]
        if f.name != "resources" and value != default:
            written[f.name] = _plain(value)
    return written


def _holds_components(f: Field[Any]) -> bool:
    return "kind" in f.metadata or isinstance(f.metadata.get("by_name"), str)
