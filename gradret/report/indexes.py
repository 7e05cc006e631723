"""What each system's index is, what it loses against exact search, and what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradret.store.artifacts import Artifact

__all__ = ["indexes"]


def indexes(artifacts: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """What ``search`` noted of each system's index, with sizes in MiB."""
    found = []
    for name, run in artifacts.items():
        notes = run.manifest["notes"].get("index") if name.startswith("search.") else None
        if notes:
            # Exact search has no index but the vectors.
            searched = notes["bytes"]["index"] or notes["bytes"]["vectors"]
            found.append(
                {
                    **notes,
                    "system": name.removeprefix("search."),
                    "recall_at_10": notes["recall@10"],
                    "recall_at_k": notes["recall@k"],
                    "mib": searched / 2**20,
                    "a_vector": searched / max(1, notes["vectors"]),
                    "disk_mib": sum(notes["bytes"].values()) / 2**20,
                }
            )
    return found
