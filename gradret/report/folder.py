"""The folders that a config names: ``STORAGE/runs/NAME``, and in ``comparisons``, ``searches`` and ``evaluations``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradret.config.loading import read_yaml, to_yaml
from gradret.config.written import read
from gradret.errors import ConfigError
from gradret.store.mirror import refreshed
from gradret.store.storage import storage_folder

if TYPE_CHECKING:
    from gradret.config.evaluation import Evaluation
    from gradret.config.run import Config

__all__ = ["results_folder", "settings_of"]

Kind = Literal["runs", "comparisons", "searches", "evaluations"]

# Blocks that do not affect the content of a folder. Blocks called resources, and the storage path, never affect it.
_WITHOUT = {"runs": {"compare", "tune"}, "comparisons": {"tune"}, "searches": {"compare"}, "evaluations": set[str]()}
_SHOWN = 3


def results_folder(config: Config | Evaluation, kind: Kind) -> Path:
    """Return the folder for the results of ``config``; creates only the storage, so call it before work starts.

    Raises:
        ConfigError: the folder contains the results of another config, or the storage cannot be created.
    """
    folder = storage_folder(config.storage_path) / kind / config.name
    if not refreshed(folder / "config.yaml").exists():
        return folder
    yaml = to_yaml(config)
    try:
        if (folder / "config.yaml").read_bytes() == yaml.encode():
            return folder
        before = settings_of(read_yaml(folder / "config.yaml"), kind)
    except (ConfigError, OSError) as error:
        raise ConfigError(f"name: {folder} holds other results, and {error}; {_advice(config.name)}") from error
    now = settings_of(read(yaml), kind)
    keys = [key for key in {**before, **now} if before.get(key, "") != now.get(key, "")]
    if not keys:
        return folder
    shown = [f"{key} was {before.get(key, 'absent')}, is {now.get(key, 'absent')}" for key in keys[:_SHOWN]]
    more = f", and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    raise ConfigError(
        f"name: {folder} holds the results of another config ({'; '.join(shown)}{more}); {_advice(config.name)}"
    )


def _advice(name: str) -> str:
    return f"choose another name, such as name={name}-2, or delete that folder; stages that are done are reused"


def settings_of(tree: Mapping[str, Any], kind: Kind = "runs") -> dict[str, str]:
    """Every setting that decides a result, by its key."""
    left_out = {"storage_path", "license", *_WITHOUT[kind]}
    return dict(_flat({key: value for key, value in tree.items() if key not in left_out}, ""))


def _flat(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            if name != "resources":
                yield from _flat(value, f"{key}.{name}" if key else name)
    elif isinstance(node, list) and node:
        for number, value in enumerate(node):
            yield from _flat(value, f"{key}[{number}]")
    else:
        yield key, str(node)
