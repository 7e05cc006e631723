"""Artifacts of another version of gradret, and damaged ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from gradret.doctor.finding import Finding, all_well
from gradret.errors import DamagedError
from gradret.store.checksums import MANIFEST, find_damage, read_manifest
from gradret.store.mirror import files_below
from gradret.version import VERSION

__all__ = ["artifacts"]


def artifacts(folder: Path) -> list[Finding]:
    """Look at the manifest of every finished artifact in the storage ``folder``; reads no other file."""
    paths = [path.parent for path in files_below(folder / "artifacts", f"*/*/{MANIFEST}")]
    findings, others = [], Counter[str]()
    for path in paths:
        if damage := find_damage(path):
            fix = "gradret run computes it again"
            findings.append(Finding("warning", "artifacts", str(damage).partition(";")[0], fix))
        elif (version := _version(path)) != VERSION:
            others[version] += 1
    for version, number in sorted(others.items()):
        text = f"{number} in {folder} were written by gradret {version}, and this is {VERSION}"
        fix = "they are reused where the code that made them is the same; else computed again, and can be deleted"
        findings.append(Finding("warning", "artifacts", text, fix))
    return all_well("artifacts", findings, f"{len(paths)} finished, whole, of this version")


def _version(path: Path) -> str:
    try:
        manifest = read_manifest(path) or {}
    except DamagedError:
        manifest = {}
    return str(manifest.get("gradret", "of an unknown version"))
