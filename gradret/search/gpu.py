"""FAISS on a GPU: the same index, moved there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradret.errors import ConfigError

if TYPE_CHECKING:
    import faiss

__all__ = ["MOST", "on_gpu", "require_gpus"]

MOST = 2048
"""The most results a query that FAISS gives on a GPU."""


def on_gpu(index: faiss.Index) -> faiss.Index | None:
    """The index on this process's first GPU, vectors and look-up tables in float16; None if its type has no GPU form.

    Raises:
        ConfigError: FAISS is its CPU build, or sees no GPU.
    """
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        raise ConfigError(
            "resources.gpus: FAISS sees no GPU here; install gradret[gpu] instead of gradret[cpu], or set 0"
        )
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True
    resources = faiss.StandardGpuResources()
    try:
        moved: faiss.Index = faiss.index_cpu_to_gpu(resources, 0, index, options)
    except RuntimeError:
        return None
    moved.referenced_objects = [resources]  # type: ignore[attr-defined]  # as long-lived as the index
    return moved


def require_gpus(stage: str, gpus: float) -> None:
    """Refuse to wait for GPUs that the cluster has not.

    Raises:
        ConfigError: names the key.
    """
    import ray

    there = float(ray.cluster_resources().get("GPU", 0)) if gpus else 0.0  # type: ignore[no-untyped-call]
    if gpus > there:
        raise ConfigError(f"{stage}.resources.gpus={gpus:g}: the cluster has {there:g}")
