"""Compare a loaded config with what its file says, which PyYAML's base loader reads with every scalar as text."""

from __future__ import annotations

import dataclasses
import os
import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["verdict"]

_NULLS = ("", "null", "Null", "NULL")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_LONGEST = 20_000
# Components have defaults that only a loaded config fills in.
_OF_COMPONENTS = {"generate", "mine", "label", "train", "train_teacher", "check"}


def verdict(path: Path, overrides: tuple[str, ...]) -> str:
    """``fine``, ``refused``, or what is wrong."""
    from gradret.config.loading import load, to_yaml
    from gradret.errors import ConfigError

    try:
        config = load(path, overrides)
    except ConfigError as error:
        return _told(str(error), path)
    except Exception:
        return f"traceback: {traceback.format_exc(limit=-3)}"
    try:
        wrong = _differences(config, _tree(path), overrides)
        path.write_text(to_yaml(config), encoding="utf-8")
        again = load(path)
    except Exception:
        return f"traceback: {traceback.format_exc(limit=-3)}"
    if again != config:
        wrong.append("config.yaml reads back as another config")
    return f"wrong: {'; '.join(wrong)}"[:2000] if wrong else "fine"


def _told(text: str, path: Path) -> str:
    """A refusal is one line, or one line for each error of the config."""
    lines = text.splitlines()
    good = len(lines) == 1 and str(path) in text
    good = good or (
        re.fullmatch(r"the config has \d+ errors?:", lines[0]) and all(x.startswith("  ") for x in lines[1:])
    )
    return "refused" if good and len(text) < _LONGEST else f"wrong: says {text[:2000]}"


def _tree(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8-sig"), yaml.BaseLoader)  # noqa: S506 - text only


def _differences(config: Any, tree: Mapping[str, Any], overrides: tuple[str, ...]) -> list[str]:
    """Keys whose value is not what the file says, or, for those it leaves out, not the default."""
    from gradret.config.run import Config

    paths = [re.sub(r"\[([^]]*)\]", r".\1", text.partition("=")[0]) for text in overrides]
    wrong = list(_of(config, tree, "", config, paths))
    default = Config(name=config.name, dataset=config.dataset)
    for f in dataclasses.fields(config):
        told = f.name in tree or any(path.split(".")[0] == f.name for path in paths)
        same = told or f.name in _OF_COMPONENTS or getattr(config, f.name) == getattr(default, f.name)
        wrong += [] if same else [f"{f.name} is not the default"]
    for text in overrides:
        wrong += _overridden(config, text)
    return wrong


def _of(value: Any, node: Any, where: str, config: Any, skipped: list[str]) -> Any:
    """Yield where ``value`` is not what ``node``, of the file, says."""
    if _is_overridden(where, node, skipped):
        return
    if isinstance(node, Mapping) and dataclasses.is_dataclass(value):
        for key, child in node.items():
            if key != "name" or hasattr(value, "name"):
                yield from _of(getattr(value, key), child, f"{where}.{key}".strip("."), config, skipped)
    elif isinstance(node, list) and isinstance(value, (list, tuple)):
        if len(node) != len(value):
            yield f"{where} has {len(value)} items, expected {len(node)}"
        for number, (item, child) in enumerate(zip(value, node, strict=False)):
            yield from _of(item, child, f"{where}.{number}", config, skipped)
    elif not _same(value, node, config):
        yield f"{where} is {value!r}, the file says {node!r}"


def _is_overridden(where: str, node: Any, paths: list[str]) -> bool:
    inside = any(f"{where}.".startswith(f"{path}.") for path in paths if path)
    above = not isinstance(node, (Mapping, list)) and any(path.startswith(f"{where}.") for path in paths)
    return bool(where) and (inside or above)


def _overridden(config: Any, text: str) -> list[str]:
    """Whether a number or text that an override sets is there."""
    key, _, written = text.partition("=")
    value: Any = config
    for part in re.sub(r"\[([^]]*)\]", r".\1", key).split("."):
        value = value[int(part)] if isinstance(value, tuple) else getattr(value, part, None)
    if (
        isinstance(value, (str, int, float))
        and written[:1] not in ("[", "{", '"', "'")
        and not _same(value, written, config)
    ):
        return [f"{key} is {value!r}, the override says {written!r}"]
    return []


def _same(value: Any, text: Any, config: Any) -> bool:
    """Whether a value is what a scalar's text means for its type."""
    if not isinstance(text, str):
        return dataclasses.is_dataclass(value) or isinstance(value, Mapping)
    if reference := re.fullmatch(r"\$\{([\w.]+)\}", text):
        return _same_value(value, _at(config, reference[1]))
    if "${" in text:
        return True  # an interpolation inside a text
    if value is None or value == ():
        return text in (*_NULLS, "~")
    if isinstance(value, bool):
        return _BOOLS.get(text) is value
    if isinstance(value, (int, float)):
        plain = re.fullmatch(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?", text)
        return bool(plain) and float(text) == value
    if isinstance(value, str):
        return value in (text, os.path.expanduser(text))  # noqa: PTH111 - Path drops trailing slashes
    return True if text in (*_NULLS, "~") else dataclasses.is_dataclass(value)


def _same_value(value: Any, other: Any) -> bool:
    return str(value) == str(other) or value == other


def _at(config: Any, path: str) -> Any:
    for part in path.split("."):
        config = getattr(config, part, None)
    return config
