"""``gradret doctor``: look for what would fail a run before it costs anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.doctor import gpus
from gradret.doctor.artifacts import artifacts
from gradret.doctor.extras import extras, needed
from gradret.doctor.finding import Finding
from gradret.doctor.hub import hub, on_hub
from gradret.doctor.inputs import inputs
from gradret.doctor.nodes import Machine, ask_driver, ask_nodes
from gradret.doctor.shared_memory import shared_memory
from gradret.doctor.storage import marked, storage
from gradret.doctor.versions import versions
from gradret.doctor.wanted import gpus as wanted_gpus
from gradret.errors import ConfigError, StageError
from gradret.urls import location

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["doctor"]


def doctor(config: Config | None = None) -> list[Finding]:
    """Check this machine, every node of the cluster and, with a config, what it needs of them and what it names.

    Connects to the cluster of ``RAY_ADDRESS``, or starts Ray on this machine. Nothing is computed or downloaded.

    Returns:
        Findings in the order of the checks; a check that finds nothing wrong has one finding, ``ok``.
    """
    try:
        with _marked(config) as (folder, token):
            return list(_findings(config, folder, token))
    except ConfigError as error:
        return [Finding("fault", "storage", str(error))]


@contextmanager
def _marked(config: Config | None) -> Iterator[tuple[Path | None, str]]:
    if config is None:
        yield None, ""
        return
    with marked(config.storage_path) as where:
        yield where


def _findings(config: Config | None, folder: Path | None, token: str) -> Iterator[Finding]:
    question: dict[str, Any] = {
        "modules": list(needed(config)),
        "storage": _where(folder),
        "token": token,
        "hub": on_hub(config) if config else [],
    }
    driver = ask_driver(question)
    nodes, silent = _nodes(question)
    yield from silent
    machines = [driver, *nodes]
    yield from versions(driver, nodes)
    yield from extras(config, machines)
    if config and not silent:
        yield from wanted_gpus(config, nodes)
    # The driver's machine is usually one of the nodes, whose GPUs are not to be told twice.
    yield from gpus.builds(config, nodes or machines)
    yield from gpus.memory(nodes or machines)
    yield from shared_memory(nodes)
    if config and folder:
        yield from storage(folder, token, machines)
        yield from artifacts(folder)
        yield from hub(config, machines)
        yield from inputs(config)


def _where(folder: Path | None) -> str:
    """The storage as nodes name it: a folder, or a URL with its options; empty without a config."""
    place = location(folder) if folder else None
    return place.url if place else str(folder or "")


def _nodes(question: dict[str, Any]) -> tuple[list[Machine], list[Finding]]:
    """The nodes that answered, and a finding for each that did not."""
    from gradret.work.session import connect

    try:
        connect()
    except StageError as error:
        return [], [Finding("fault", "Ray", str(error))]
    nodes = ask_nodes(question)
    silent = [
        Finding("fault", "Ray", f"{node.name} {node.problem}", "see its logs, or take it out of the cluster")
        for node in nodes
        if node.problem
    ]
    return [node for node in nodes if not node.problem], silent
