"""Metrics of a run, for Prometheus, from the endpoint that each node of a Ray cluster has.

``ray_gradret_rows_total``, ``..._quarantined_total``, ``..._tokens_in_total``, ``..._tokens_out_total`` and
``ray_gradret_loss``, tagged with the run's name and the stage. The driver records them, where it learns of rows that
workers have finished; rows of an earlier run that a resumed stage skips are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["count", "loss", "named"]

_COUNTERS = {
    "rows": "Input rows that a stage has finished",
    "quarantined": "Rows that a stage could not use",
    "tokens_in": "Tokens of the prompts that a language model has answered",
    "tokens_out": "Tokens of its answers",
}
_run = ""


@contextmanager
def named(run: str) -> Iterator[None]:
    """Tag what the block records with the run's name."""
    global _run  # noqa: PLW0603 - a process runs one run at a time
    before, _run = _run, run
    try:
        yield
    finally:
        _run = before


def count(stage: str, **numbers: int) -> None:
    """Add to the stage's counters, by name in ``_COUNTERS``."""
    for name, number in numbers.items():
        if number > 0 and _connected():
            _counter(name).inc(number, tags={"run": _run, "stage": stage})


def loss(stage: str, value: float) -> None:
    """Set the last loss of a training."""
    if _connected():
        _loss().set(value, tags={"run": _run, "stage": stage})


def _connected() -> bool:
    import ray

    return bool(ray.is_initialized())


@cache
def _counter(name: str) -> Any:
    from ray.util.metrics import Counter

    return Counter(f"gradret_{name}", description=_COUNTERS[name], tag_keys=("run", "stage"))


@cache
def _loss() -> Any:
    from ray.util.metrics import Gauge

    return Gauge("gradret_loss", description="The loss of the last step", tag_keys=("run", "stage"))
