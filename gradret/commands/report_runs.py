"""``gradret report RUN ...``: write the page of a finished run again, or one page with several runs side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.config.loading import load
from gradret.errors import ConfigError, StorageError
from gradret.report.runs_page import RunPart, page
from gradret.store.artifacts import opened
from gradret.store.atomic import write_text
from gradret.store.run_folder import run_folder

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["report_again", "report_side_by_side"]


@dataclass(frozen=True)
class _Run:
    config: Config
    artifacts: dict[str, Artifact]


def report_again(folder: Path) -> Path:
    """Write ``report.html`` of a finished run from its artifacts, and return its path.

    Raises:
        ConfigError: the folder is not a finished run.
        StorageError: an artifact is missing or damaged, or the page cannot be written.
    """
    from gradret.report.run import report_page

    folder = run_folder(folder)
    run = _finished(folder)
    # As it was written: a newer gradret has more settings.
    yaml = (folder / "config.yaml").read_text(encoding="utf-8")
    _write(folder / "report.html", report_page(run.config, run.artifacts, yaml))
    return folder / "report.html"


def report_side_by_side(folders: Sequence[Path], output: Path) -> Path:
    """Write a page that compares finished runs on the same test queries, and return its path.

    Args:
        folders: the folders of the runs; differences are those from the first.
        output: the file to write.

    Raises:
        ConfigError: a folder is not a finished run, or the runs were not evaluated on the same queries.
        StorageError: an artifact is missing or damaged, or the page cannot be written.
    """
    runs = [_finished(run_folder(folder)) for folder in folders]
    parts = [RunPart(name, run.config, run.artifacts) for name, run in zip(_names(folders), runs, strict=True)]
    _write(output, page(parts))
    return output


def _write(path: Path, html: str) -> None:
    try:
        write_text(path, [html])
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}; free some space or write elsewhere") from error


def _finished(folder: Path) -> _Run:
    storage = folder.absolute().parent.parent
    try:
        lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
        paths = {name: storage / str(entry["path"]) for name, entry in lineage.items()}
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder} is not the folder of a finished run ({error}); expected STORAGE/runs/NAME"
        ) from error
    config = load(folder / "config.yaml", [f"storage_path={storage}"])
    return _Run(config, {name: opened(path) for name, path in paths.items()})


def _names(folders: Sequence[Path]) -> list[str]:
    """The runs' names; with their storage if a name is not unique."""
    paths = [folder.absolute() for folder in folders]
    counts = Counter(path.name for path in paths)
    names = [path.name if counts[path.name] == 1 else f"{path.parent.parent.name}/{path.name}" for path in paths]
    if len(set(names)) < len(names):
        twice = next(name for name, number in Counter(names).items() if number > 1)
        raise ConfigError(f"{twice}: named twice; name each run once")
    return names
