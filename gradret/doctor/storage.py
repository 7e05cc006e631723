"""A storage that a machine does not see, or cannot write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from gradret.doctor.finding import Finding, all_well
from gradret.doctor.nodes import Machine
from gradret.store.mirror import publish, remove
from gradret.store.storage import storage_folder
from gradret.urls import shown

__all__ = ["marked", "storage"]


@contextmanager
def marked(storage_path: str) -> Iterator[tuple[Path, str]]:
    """Write a file with a random name to the storage; yields the storage's folder and the name, empty if it failed.

    Raises:
        ConfigError: the storage cannot be created.
    """
    folder, token = storage_folder(storage_path), f".doctor-{uuid4().hex}"
    try:
        (folder / token).write_bytes(b"gradret doctor\n")
        publish(folder / token)
    except OSError:
        token = ""
    try:
        yield folder, token
    finally:
        if token:
            remove(folder / token)
            (folder / token).unlink(missing_ok=True)


def storage(folder: Path, token: str, machines: Sequence[Machine]) -> list[Finding]:
    """One finding for each machine on which ``folder`` is not the driver's, or cannot be written."""
    findings = [finding for machine in machines for finding in _problems(folder, token, machine)]
    least = min((machine.facts["storage"]["free"] for machine in machines), default=0)
    free = f", {least / 1e9:,.0f} GB free" if least else ""
    return all_well("storage", findings, f"{shown(folder)} is writable on every machine{free}")


def _problems(folder: Path, token: str, machine: Machine) -> Iterator[Finding]:
    told = machine.facts["storage"]
    if not told["exists"]:
        fix = "mount one folder there on all nodes, or set storage_path to one that all nodes share"
        yield Finding("fault", "storage", f"{machine.name} has no folder {folder}", fix)
    elif token and not told["seen"] and not told["problem"]:
        fix = "mount the driver's folder there on all nodes, or set storage_path to one that all nodes share"
        yield Finding("fault", "storage", f"on {machine.name}, {folder} is another folder than the driver's", fix)
    elif told["problem"]:
        text = f"{machine.name} cannot write to {shown(folder)}: {told['problem']}"
        yield Finding("fault", "storage", text, "allow it, or set storage_path to another folder")
