"""Turn a corpus into a dense retriever specialised to it.

    import gradret

    config = gradret.load("configs/quickstart.yaml", ["seed=1"])
    folder = gradret.run(config)          # report.html, metrics.json, model/

Importing gradret imports neither torch nor ray; every stage is a function under ``gradret.stages``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradret.config.loading import load
from gradret.config.run import Config
from gradret.errors import ConfigError, ContractError, DamagedError, DataError, GradretError, StageError, StorageError
from gradret.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Config",
    "ConfigError",
    "ContractError",
    "DamagedError",
    "DataError",
    "GradretError",
    "StageError",
    "StorageError",
    "load",
    "run",
]

__version__ = VERSION


def run(config: Config | str | Path | Mapping[str, object]) -> Path:
    """Run all stages, reuse finished artifacts, and return the run's folder.

    Args:
        config: a ``Config``, the path of a YAML file, or nested mappings.

    Raises:
        GradretError: the run failed; the message says why and what to do.
    """
    from gradret.config.loading import parse
    from gradret.flow import Flow
    from gradret.progress import logged
    from gradret.report.folder import results_folder
    from gradret.store.repair import repaired
    from gradret.work.session import session

    if isinstance(config, (str, Path)):
        config = load(config)
    elif not isinstance(config, Config):
        config = parse(config)
    with logged(results_folder(config, "runs") / "log.txt"), session():
        folder: Path = repaired(lambda: Flow(config).report)
    return folder
