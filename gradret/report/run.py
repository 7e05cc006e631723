"""Write the results of a run to ``STORAGE/runs/NAME/``.

    config.yaml     resolved config with every default written out
    lineage.json    every artifact of the run
    metrics.json    means and significance; other programs read it
    report.html     one page for people
    runs/*.trec     each system's results
    model/          the tuned model, with a card

Every file is written atomically.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.config.loading import to_yaml
from gradret.errors import StorageError
from gradret.measures import parse_measures
from gradret.report.card import card
from gradret.report.folder import results_folder
from gradret.report.page import page
from gradret.report.remarks import remarks
from gradret.search.trec import write_run
from gradret.stages.verdict import as_data
from gradret.stats.significance import Results, results, significance
from gradret.store.artifacts import Artifact, write_json, write_text
from gradret.store.atomic import atomic
from gradret.store.run_folder import check_model

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["report"]


def report(config: Config, artifacts: Mapping[str, Artifact]) -> Path:
    """Write the run's folder and return it; sections of missing artifacts are left out.

    Args:
        config: the run's config.
        artifacts: artifacts by name: of a stage, or ``index.``, ``search.`` and ``evaluate.`` with a system's name.

    Raises:
        StorageError: the folder cannot be written.
        ContractError: the systems were not evaluated on the same queries.
    """
    tables = {system: artifact.table("metrics") for system, artifact in _by_system(artifacts, "evaluate")}
    measures = list(parse_measures(config.evaluate.measures))
    measured = results(tables, measures, config.seed, config.evaluate.test)
    lineage = {name: _lineage(config, artifact) for name, artifact in artifacts.items()}
    yaml = to_yaml(config)
    html = page(config, artifacts, measured, lineage, yaml)
    folder = results_folder(config, "runs")
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", [yaml])
        write_json(folder / "lineage.json", lineage)
        for system, run in _by_system(artifacts, "search"):
            write_run(folder / "runs" / f"{system}.trec", run, system)
        if "train" in artifacts:
            _copy_model(artifacts["train"], folder / "model")
            write_text(folder / "model" / "README.md", [card(config, artifacts, measured, lineage)])
        write_text(folder / "report.html", [html])
        write_json(folder / "metrics.json", _metrics(config, artifacts, measured))
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"report: {folder} cannot be written: {error}; free some space or set storage_path to another folder"
        ) from error
    return folder


def _by_system(artifacts: Mapping[str, Artifact], stage: str) -> list[tuple[str, Artifact]]:
    """Systems and artifacts of the names ``STAGE.SYSTEM``."""
    prefix = f"{stage}."
    return [(name.removeprefix(prefix), artifact) for name, artifact in artifacts.items() if name.startswith(prefix)]


def _lineage(config: Config, artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "artifact": f"{artifact.stage}/{artifact.fingerprint}",
        "path": os.path.relpath(artifact.path, config.storage_path),
        **{key: manifest[key] for key in ("counts", "quarantined", "seconds", "inputs")},
    }


def _metrics(config: Config, artifacts: Mapping[str, Artifact], measured: Results) -> dict[str, Any]:
    return {
        "name": config.name,
        "dataset": name_of(config.dataset),
        "queries": len(measured.query_ids),
        "systems": {
            system: {measure: mean.value for measure, mean in means.items()} for system, means in measured.means.items()
        },
        "significance": significance(measured.comparisons, measured.test),
        "remarks": remarks(len(measured.query_ids), artifacts),
        "seconds": {name: artifact.manifest["seconds"] for name, artifact in artifacts.items()},
        "teacher_check": as_data(artifacts["check"]) if "check" in artifacts else None,
    }


def _copy_model(trained: Artifact, folder: Path) -> None:
    """Copy the trained model to ``folder``, unless it is there already, intact."""
    mark = folder / "fingerprint.txt"
    if mark.is_file() and mark.read_bytes().strip() == trained.fingerprint.encode():
        with contextlib.suppress(StorageError):
            check_model(folder.parent, trained.path)
            return
    old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
    try:
        with atomic(folder) as draft:
            shutil.copytree(trained.file("model"), draft)
            (draft / mark.name).write_text(f"{trained.fingerprint}\n", encoding="utf-8")
            if folder.exists():
                folder.replace(old)
    finally:
        shutil.rmtree(old, ignore_errors=True)
