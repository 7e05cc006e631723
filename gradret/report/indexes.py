"""Summarise each system's index: its type, recall against exact search, latency and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradret.store.artifacts import Artifact

__all__ = ["indexes"]


def indexes(artifacts: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """The notes of ``search`` on each system's index, with sizes in MiB."""
    summaries = []
    for name, run in artifacts.items():
        notes = run.manifest["notes"].get("index") if name.startswith("search.") else None
        if notes:
            # For exact search, the vectors are the index.
            size = notes["bytes"]["index"] or notes["bytes"]["vectors"]
            summaries.append(
                {
                    **notes,
                    "system": name.removeprefix("search."),
                    "recall_at_10": notes["recall@10"],
                    "recall_at_k": notes["recall@k"],
                    "mib": size / 2**20,
                    "a_vector": size / max(1, notes["vectors"]),
                    "disk_mib": sum(notes["bytes"].values()) / 2**20,
                }
            )
    return summaries
