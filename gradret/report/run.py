"""Write the results of a run to ``STORAGE/runs/NAME/``.

    config.yaml     resolved config with every default written out
    lineage.json    every artifact of the run
    metrics.json    means and significance; other programs read it
    report.html     one page for people
    runs/*.trec     each system's results
    model/          the tuned model, with a card
    checksums.json  the files above, and a hash of what they were written from

Every file is written atomically, and none if all are there already, from the same artifacts, config and code.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.config.loading import to_yaml
from gradret.errors import StorageError
from gradret.measures import parse_measures
from gradret.numbered import part
from gradret.report.folder import results_folder
from gradret.report.remarks import remarks
from gradret.report.smaller import smaller_sizes
from gradret.report.written import is_written, mark_written
from gradret.search.trec import write_run
from gradret.stages.verdict import as_data
from gradret.stats.significance import Results, results, significance
from gradret.store.artifacts import Artifact
from gradret.store.atomic import atomic, write_json, write_text
from gradret.store.fingerprint import fingerprint, hash_files
from gradret.store.run_folder import check_model
from gradret.store.storage import storage_folder
from gradret.urls import shown
from gradret.version import VERSION

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["report", "report_page"]

_MARK = "fingerprint.txt"
"""File of the model's folder that names the artifact it was copied from."""
_TEMPLATES = {".jinja", ".css", ".js"}


def report(config: Config, artifacts: Mapping[str, Artifact]) -> Path:
    """Write the run's folder, unless it is written already, and return it; leaves out sections of missing artifacts.

    Args:
        config: the run's config.
        artifacts: artifacts by name: of a stage, or ``index.``, ``search.`` and ``evaluate.`` with a system's name.

    Raises:
        StorageError: the folder cannot be written.
        ContractError: the systems were not evaluated on the same queries.
    """
    lineage, yaml = _lineage(config, artifacts), to_yaml(config)
    folder, source = results_folder(config, "runs"), _source(config, lineage, yaml)
    trained = artifacts.get("train")
    if is_written(folder, source) and (trained is None or _has_model(trained, folder / "model")):
        part("report", "", shown(folder))
        return folder
    from gradret.report.card import card
    from gradret.report.page import page

    started = time.monotonic()
    measured = _measured(config, artifacts)
    html = page(config, artifacts, measured, lineage, yaml)
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", [yaml])
        write_json(folder / "lineage.json", lineage)
        for system, run in _by_system(artifacts, "search"):
            write_run(folder / "runs" / f"{system}.trec", run, system)
        if trained is not None:
            _copy_model(trained, folder / "model")
            write_text(folder / "model" / "README.md", [card(config, artifacts, measured, lineage)])
        write_text(folder / "report.html", [html])
        write_json(folder / "metrics.json", _metrics(config, artifacts, measured))
        mark_written(folder, source, _files(folder, artifacts))
        part("report", "", shown(folder), seconds=time.monotonic() - started)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"report: {folder} cannot be written: {error}; free some space or set storage_path to another folder"
        ) from error
    return folder


def report_page(config: Config, artifacts: Mapping[str, Artifact], yaml: str) -> str:
    """The content of ``report.html``.

    Args:
        config: the run's config.
        artifacts: as for ``report``.
        yaml: the config as it is shown.
    """
    from gradret.report.page import page

    return page(config, artifacts, _measured(config, artifacts), _lineage(config, artifacts), yaml)


def _source(config: Config, lineage: Mapping[str, Any], yaml: str) -> str:
    """A hash of what decides the folder's files, except the machine and the day, which the page names."""
    templates = sorted(path for path in Path(__file__).parent.rglob("*") if path.suffix in _TEMPLATES)
    settings = {"config": config, "yaml": yaml, "templates": hash_files(templates), "version": VERSION}
    return fingerprint("report", __name__, {**settings, "lineage": lineage}, {})


def _files(folder: Path, artifacts: Mapping[str, Artifact]) -> list[Path]:
    """The folder's files, without those of the model, which are checked against their artifact."""
    names = ["config.yaml", "lineage.json", "metrics.json", "report.html"]
    names += [f"runs/{system}.trec" for system, _ in _by_system(artifacts, "search")]
    names += ["model/README.md"] if "train" in artifacts else []
    return [folder / name for name in names]


def _measured(config: Config, artifacts: Mapping[str, Artifact]) -> Results:
    tables = {system: artifact.table("metrics") for system, artifact in _by_system(artifacts, "evaluate")}
    return results(tables, list(parse_measures(config.evaluate.measures)), config.seed, config.evaluate.test)


def _by_system(artifacts: Mapping[str, Artifact], stage: str) -> list[tuple[str, Artifact]]:
    """Systems and artifacts of the names ``STAGE.SYSTEM``."""
    prefix = f"{stage}."
    return [(name.removeprefix(prefix), artifact) for name, artifact in artifacts.items() if name.startswith(prefix)]


def _lineage(config: Config, artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    return {
        name: {
            "artifact": f"{artifact.stage}/{artifact.fingerprint}",
            "path": os.path.relpath(artifact.path, storage_folder(config.storage_path)),
            **{key: artifact.manifest[key] for key in ("counts", "quarantined", "seconds", "inputs")},
        }
        for name, artifact in artifacts.items()
    }


def _metrics(config: Config, artifacts: Mapping[str, Artifact], measured: Results) -> dict[str, Any]:
    sizes = smaller_sizes(artifacts)
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
        **({"smaller": sizes} if sizes else {}),
    }


def _has_model(trained: Artifact, folder: Path) -> bool:
    """Whether ``folder`` holds the trained model, intact."""
    mark = folder / _MARK
    if mark.is_file() and mark.read_bytes().strip() == trained.fingerprint.encode():
        with contextlib.suppress(StorageError):
            check_model(folder.parent, trained.path)
            return True
    return False


def _copy_model(trained: Artifact, folder: Path) -> None:
    """Copy the trained model to ``folder``, unless it is there already."""
    if _has_model(trained, folder):
        return
    old = folder.with_name(f".{folder.name}.old.{platform.node()}.{os.getpid()}")
    try:
        with atomic(folder) as draft:
            shutil.copytree(trained.file("model"), draft)
            (draft / _MARK).write_text(f"{trained.fingerprint}\n", encoding="utf-8")
            if folder.exists():
                folder.replace(old)
    finally:
        shutil.rmtree(old, ignore_errors=True)
