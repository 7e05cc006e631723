"""The folder of a run, ``STORAGE/runs/NAME``, and the artifacts that its lineage names."""

from __future__ import annotations

import json
from pathlib import Path

from gradret.errors import ConfigError

__all__ = ["is_run", "model_folder"]

_STAGES = {"tuned": "train", "base": "base"}


def is_run(reference: str) -> bool:
    """Whether a model is named by the folder of a run."""
    return (Path(reference) / "lineage.json").is_file()


def model_folder(reference: str, version: str) -> Path:
    """The artifact that holds a run's model.

    Args:
        reference: the run's folder.
        version: ``tuned`` or ``base``.

    Raises:
        ConfigError: the run has no such model, or it is gone.
    """
    run = Path(reference).absolute()
    try:
        lineage = json.loads((run / "lineage.json").read_text(encoding="utf-8"))
        path = run.parent.parent / str(lineage[_STAGES[version]]["path"])
        (path / "manifest.json").stat()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{run} has no {version} model ({error}); gradret run makes it, and finishes a run that was stopped"
        ) from error
    return path
