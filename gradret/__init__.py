"""Turn a corpus into a dense retriever specialised to it.

    import gradret

    config = gradret.load("configs/quickstart.yaml", ["seed=1"])
    run = gradret.run(config)
    print(run)                            # the measures; run.report, run.model and run.metrics are its files
    run.search("wait for a process")

Importing gradret imports neither torch nor ray; every stage is a function under ``gradret.stages``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.config.loading import load
from gradret.config.run import Config
from gradret.errors import ConfigError, ContractError, DamagedError, DataError, GradretError, StageError, StorageError
from gradret.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradret.finished import FinishedRun

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
    "open_run",
    "run",
]

__version__ = VERSION


def run(config: Config | str | Path | Mapping[str, object]) -> FinishedRun:
    """Run all stages, reuse finished artifacts, and return the run.

    Args:
        config: a ``Config``, the path of a YAML file, or nested mappings.

    Raises:
        GradretError: the run failed; the message says why and what to do.
    """
    from gradret.config.loading import parse
    from gradret.finished import FinishedRun
    from gradret.flow import Flow
    from gradret.numbered import tallied
    from gradret.progress import duration, logged, say
    from gradret.report.folder import results_folder
    from gradret.store.mirror import published
    from gradret.store.repair import repaired
    from gradret.work.metrics import named
    from gradret.work.session import session

    if isinstance(config, (str, Path)):
        config = load(config)
    elif not isinstance(config, Config):
        config = parse(config)
    log, started = results_folder(config, "runs") / "log.txt", time.monotonic()
    with published(log), logged(log), named(config.name), session(), tallied() as tally:
        folder: Path = repaired(lambda: Flow(config).report)
        say(f"finished in {duration(time.monotonic() - started)}: {tally.text}")
    return FinishedRun(folder)


def open_run(folder: str | Path) -> FinishedRun:
    """Open the folder of a finished run, ``STORAGE/runs/NAME``, or its URL.

    Raises:
        ConfigError: the folder is not a finished run.
    """
    from gradret.finished import FinishedRun

    return FinishedRun(folder)
