"""Move a FAISS index to the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradret.errors import ConfigError

if TYPE_CHECKING:
    import faiss

__all__ = ["MAX_RESULTS", "on_gpu"]

MAX_RESULTS = 2048
"""FAISS's maximum number of results per query on a GPU."""


def on_gpu(index: faiss.Index) -> faiss.Index | None:
    """Copy the index to this process's first GPU, vectors and lookup tables in float16; None if FAISS cannot.

    Raises:
        ConfigError: this is FAISS's CPU build, or it sees no GPU.
    """
    import faiss

    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        raise ConfigError(
            "resources.gpus: FAISS sees no GPU here; install gradret[gpu] instead of gradret[cpu], or set it to 0"
        )
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True
    resources = faiss.StandardGpuResources()
    try:
        moved: faiss.Index = faiss.index_cpu_to_gpu(resources, 0, index, options)
    except RuntimeError:
        return None
    moved.referenced_objects = [resources]  # type: ignore[attr-defined]  # keep resources alive with the index
    return moved
