"""Shared memory that is smaller than Ray's object store."""

from __future__ import annotations

from collections.abc import Sequence

from gradret.doctor.finding import Finding, all_well
from gradret.doctor.nodes import Machine

__all__ = ["shared_memory"]


def shared_memory(nodes: Sequence[Machine]) -> list[Finding]:
    """Nodes whose /dev/shm is smaller than their object store, which Ray then keeps on disk."""
    findings = []
    for node in nodes:
        store, shm = node.resources.get("object_store_memory", 0.0), node.facts["shm"]
        if store > shm:
            text = f"{node.name}: /dev/shm has {shm / 1e9:.2f} GB, and Ray's object store {store / 1e9:.2f} GB"
            fix = f"start the container with --shm-size={store / 1e9:.1f}gb or more, else Ray keeps objects on disk"
            findings.append(Finding("warning", "shared memory", text, fix))
    return all_well("shared memory", findings, f"enough for Ray's object store on {len(nodes)} node(s)")
