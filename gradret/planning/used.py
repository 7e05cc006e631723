"""What the stages of a finished run took, from the manifests of its artifacts."""

from __future__ import annotations

import json
from pathlib import Path

from gradret.errors import DamagedError
from gradret.planning.rates import stage_of
from gradret.store.checksums import read_manifest
from gradret.store.mirror import refreshed

__all__ = ["used_hours"]


def used_hours(storage: Path, name: str) -> dict[str, float]:
    """Wall-clock hours of each stage of the run ``name``; empty if it has not finished.

    An artifact that several parts of the run share counts once, and one that an earlier run made counts too.
    """
    try:
        lineage = json.loads(refreshed(storage / "runs" / name / "lineage.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    todo, hours = [each["artifact"] for each in lineage.values()], dict[str, float]()
    known = set[str]()
    while todo:
        artifact = todo.pop()
        if artifact in known:
            continue
        known.add(artifact)
        try:
            manifest = read_manifest(storage / "artifacts" / artifact) or {}
        except DamagedError:
            continue
        kind = stage_of(artifact.partition("/")[0])
        hours[kind] = hours.get(kind, 0.0) + manifest.get("seconds", 0.0) / 3600
        todo += manifest.get("inputs", {}).values()
    return hours
