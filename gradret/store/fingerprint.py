"""Hash everything that decides a result: settings, inputs, and the source code that will run.

The code is the stage's module, the modules of the components in its settings, and every module of gradret, or of an
outside component's package, that these import, found by parsing their ``import`` statements. Modules that move rows but
cannot change them (``PLUMBING``) are left out, so that a better message invalidates nothing. Blocks called
``resources`` affect only speed and are left out too.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from gradret.components import name_of

__all__ = ["canonical", "fingerprint", "hash_files", "source_files"]

PLUMBING = {
    "gradret",
    "gradret.components",
    "gradret.config.building",
    "gradret.config.elsewhere",
    "gradret.config.evaluation",
    "gradret.config.experiments",
    "gradret.config.fields",
    "gradret.config.loading",
    "gradret.config.resources",
    "gradret.config.run",
    "gradret.config.search",
    "gradret.config.select",
    "gradret.config.sizes",
    "gradret.config.train",
    "gradret.config.train_teacher",
    "gradret.config.values",
    "gradret.config.written",
    "gradret.errors",
    "gradret.models.license",
    "gradret.numbered",
    "gradret.progress",
    "gradret.stages",
    "gradret.store",
    "gradret.store.artifacts",
    "gradret.store.atomic",
    "gradret.store.checksums",
    "gradret.store.claims",
    "gradret.store.contracts",
    "gradret.store.fingerprint",
    "gradret.store.guard",
    "gradret.store.mirror",
    "gradret.store.objects",
    "gradret.store.repair",
    "gradret.store.results",
    "gradret.store.storage",
    "gradret.training.trackers",
    "gradret.training.watching",
    "gradret.urls",
    "gradret.version",
    "gradret.work",
    "gradret.work.confined",
    "gradret.work.metrics",
    "gradret.work.nodes",
    "gradret.work.raylet",
    "gradret.work.reaper",
    "gradret.work.session",
    "gradret.work.shards",
    "gradret.work.signals",
}

# A file modified less than this many nanoseconds ago may change again with the same modification time.
_RECENT = 2 * 10**9


def fingerprint(stage: str, module: str, settings: Mapping[str, object], inputs: Mapping[str, str]) -> str:
    """Hash the result of ``stage``, to 16 hex digits.

    Args:
        stage: name of the stage.
        module: module of the stage.
        settings: settings that decide the result: dataclasses, plain values, or lists and mappings of these.
        inputs: fingerprints of the artifacts that it reads.
    """
    code = source_files([module, *component_modules(settings)])
    payload = {
        "stage": stage,
        "settings": canonical(settings),
        "inputs": dict(inputs),
        "code": {name: _sha256(path) for name, path in code.items()},
    }
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()[:16]


def canonical(value: object) -> Any:
    """``value`` in a JSON form: dataclasses by name and fields, without ``resources``."""
    if is_dataclass(value) and not isinstance(value, type):
        items = {f.name: canonical(getattr(value, f.name)) for f in fields(value) if f.name != "resources"}
        return {"name": name_of(value), **items}
    if isinstance(value, type):
        return {"name": name_of(value)}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items() if key != "resources"}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot fingerprint a {type(value).__name__}")


def component_modules(value: object) -> list[str]:
    """Modules of all dataclasses and classes inside ``value``."""
    found: list[str] = []
    if isinstance(value, type):
        found.append(value.__module__)
    elif is_dataclass(value):
        found.append(type(value).__module__)
        for f in fields(value):
            found += component_modules(getattr(value, f.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            found += component_modules(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            found += component_modules(item)
    return found


def source_files(modules: Iterable[str]) -> dict[str, Path]:
    """Source files, by module name, of ``modules`` and of what they import from gradret and their own package."""
    todo, found = sorted(set(modules)), {}
    while todo:
        name = todo.pop()
        if not name or name in found or name in PLUMBING:
            continue
        path = _source_file(name)
        if path is None:
            continue
        found[name] = path
        todo.append(name.rpartition(".")[0])  # importing a module runs its package
        todo += _imports(name, path, path.stat().st_mtime_ns)
    return dict(sorted(found.items()))


def hash_files(paths: Iterable[Path]) -> str:
    """One hash of the content of ``paths``, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        total.update(_sha256(path).encode())
    return total.hexdigest()


def _source_file(module: str) -> Path | None:
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


@cache
def _spec(module: str) -> ModuleSpec | None:
    """As ``importlib.util.find_spec``, without importing what the module lies in."""
    package = module.rpartition(".")[0]
    if not package:
        return importlib.util.find_spec(module)
    above = _spec(package)
    if above is None or above.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(module, above.submodule_search_locations)


@lru_cache(maxsize=1024)
def _imports(module: str, path: Path, _changed: int) -> list[str]:
    """Modules of gradret and of the module's own top-level package that the file imports anywhere."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names = []
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            head = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (head, node.module) if part)
            names += [source, *(f"{source}.{alias.name}" for alias in node.names)]
    top_level = {"gradret", module.partition(".")[0]}
    return [name for name in names if name.partition(".")[0] in top_level and _spec(name)]


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements below a node; ``ast.walk`` takes ten times as long, for expressions, which hold none."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, block, ()):
            yield child
            yield from _statements(child)


def _sha256(path: Path) -> str:
    status = path.stat()
    if time.time_ns() - status.st_mtime_ns < _RECENT:
        return _digest(path)
    return _cached_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _cached_digest(path: Path, _size: int, _changed: int) -> str:
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
