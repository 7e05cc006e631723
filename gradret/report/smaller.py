"""What each smaller size of the tuned model's vectors saves and loses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradret.store.artifacts import Artifact

__all__ = ["smaller_sizes"]


def smaller_sizes(artifacts: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    """The notes of ``smaller`` with the difference in nDCG@10 to the whole, which comes first; empty without them."""
    if "smaller" not in artifacts:
        return []
    rows: list[dict[str, Any]] = artifacts["smaller"].manifest["notes"]["sizes"]
    whole = rows[0]["nDCG@10"]
    return [row | {"difference": None if whole is None else row["nDCG@10"] - whole} for row in rows]
