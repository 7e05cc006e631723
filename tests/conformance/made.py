"""Components built as from a config: those of the package and your own.

``GRADRET_LOSSES``, ``GRADRET_RETRIEVERS``, ... name components of other packages, which are put to the same laws:
classes as ``package.module:Class``, separated by spaces, or as in the config where they need settings,
``{name: package.module:Class, path: DIR}``, a list of such for several.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import yaml


def outside(kind: str) -> list[dict[str, Any]]:
    """What the kind's variable names, as nodes of a config."""
    given = os.environ.get(f"GRADRET_{kind.upper()}", "").strip()
    nodes = yaml.safe_load(given) if given[:1] in {"[", "{"} else given.split()
    nodes = [nodes] if isinstance(nodes, dict) else nodes
    return [node if isinstance(node, dict) else {"name": node} for node in nodes]


def placed(kind: str, node: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A config that has the component where its kind goes, and ``more`` blocks elsewhere."""
    whole = {"name": "toy", "dataset": {"name": "pydocs"}} | more
    places = {
        "datasets": {"dataset": node},
        "encoders": {"train": {"encoder": node}},
        "engines": {"label": {"teacher": {"name": "judge", "engine": node}}},
        "generators": {"generate": {"generator": node}},
        "losses": {"train": {"loss": [node, {**node, "weight": 0.5}]}},
        "retrievers": {"mine": {"retrievers": [node]}},
        "teachers": {"label": {"teacher": node}},
    }
    return whole | places[kind]


def used(config: Any, cls: type) -> Any:
    """The component of the class in a config."""
    todo = [config]
    while todo:
        value = todo.pop(0)
        if type(value) is cls:
            return value
        if dataclasses.is_dataclass(value):
            todo += [getattr(value, field.name) for field in dataclasses.fields(value)]
        elif isinstance(value, tuple):
            todo += value
    raise AssertionError(f"no {cls} in {config}")
