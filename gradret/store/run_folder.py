"""The folder of a run, ``STORAGE/runs/NAME``, and the artifacts that its lineage names."""

from __future__ import annotations

import json
from pathlib import Path

from gradret.errors import ConfigError
from gradret.store.checksums import check_copy
from gradret.store.mirror import fetch_below, refreshed
from gradret.urls import local_path, shown

__all__ = ["check_model", "is_run", "model_folder", "run_folder"]

_STAGES = {"tuned": "train", "base": "base"}


def run_folder(reference: str | Path) -> Path:
    """The folder of a run, from its path or URL; a URL's files and model are copied to this machine."""
    folder = local_path(reference)
    fetch_below(folder, only="*")
    fetch_below(folder / "model")
    return folder


def is_run(reference: str) -> bool:
    """Whether a model reference is the folder or the URL of a run."""
    return refreshed(local_path(reference) / "lineage.json").is_file()


def model_folder(reference: str, version: str) -> Path:
    """The folder of the artifact with a run's model.

    Args:
        reference: the run's folder, or its URL.
        version: ``tuned`` or ``base``.

    Raises:
        ConfigError: the run has no such model, or the model is missing.
    """
    run = local_path(reference).absolute()
    try:
        lineage = json.loads(refreshed(run / "lineage.json").read_text(encoding="utf-8"))
        path = run.parent.parent / str(lineage[_STAGES[version]]["path"])
        refreshed(path / "manifest.json").stat()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{shown(run)} has no {version} model ({error}); run gradret run again to finish an interrupted run"
        ) from error
    return path


def check_model(run: Path, trained: Path) -> None:
    """Check the model in a run's folder against the artifact ``trained`` that it was copied from.

    Raises:
        StorageError: a file is missing, or not as in the artifact; the model card, which the run wrote, may differ.
    """
    check_copy(run / "model", trained, "model", {"README.md"})
