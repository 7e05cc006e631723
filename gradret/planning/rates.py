"""Costs per document and query that ``benchmarks.rates`` measured, from ``rates.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["FLOPS_PER_CORE", "FLOPS_SOURCE", "Cost", "cost", "source", "stage_of"]

FLOPS_PER_CORE = 1.6e11
"""Floating-point operations per second of a CPU core in a transformer's linear layers, float32."""
FLOPS_SOURCE = "benchmarks/results/encoding_2cpu_2026-11-28.md"

_PARTS = {
    "check_queries": "check",
    "check_run": "check",
    "cut": "ingest",
    "found": "check",
    "frequencies": "base",
    "held_out": "queries",
    "hybrid": "search",
    "labels_file": "label",
    "leak_check": "leaks",
    "list_scores": "label",
    "max_passage": "search",
    "moments": "label",
    "positives": "mine",
    "rerank": "check",
    "retrieve": "check",
    "run_file": "mine",
    "teacher": "label",
    "training_queries": "generate",
}
"""Artifacts that a stage makes for itself."""


@dataclass(frozen=True)
class Cost:
    """What a kind of artifact costs in all."""

    cpu_seconds: float
    gib: float
    """Peak memory of all processes together."""
    bytes: float
    """On disk."""


def stage_of(kind: str) -> str:
    """The stage that a kind of artifact is charged to; ``bm25`` and ``encode`` serve several, and stand alone."""
    return _PARTS.get(kind, kind)


def source(key: str = "source") -> str:
    """The benchmark's result file; ``smaller_source`` is that of ``smaller``."""
    return str(_file()[key])


def cost(stage: str, documents: int, queries: int) -> Cost:
    """The cost of a stage for this many documents and queries."""
    rate = _file()["rates"][stage]
    return Cost(
        **{quantity: _value(rate[quantity], documents, queries) for quantity in ("cpu_seconds", "gib", "bytes")}
    )


def _value(terms: Mapping[str, float], documents: int, queries: int) -> float:
    sizes = {"fixed": 1, "per_document": documents, "per_query": queries, "per_pair": documents * queries}
    return sum(sizes[name] * rate for name, rate in terms.items())


@cache
def _file() -> dict[str, Any]:
    import yaml

    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("rates.yaml").read_text(encoding="utf-8"))
    return content
