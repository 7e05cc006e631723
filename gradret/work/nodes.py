"""Wait until the cluster has the nodes that a stage needs: a cluster that grows starts them when they are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gradret.errors import ConfigError, StageError
from gradret.progress import say
from gradret.work.session import connect, cores, is_local

__all__ = ["count_cores", "count_nodes", "require_nodes", "watched"]

_INTERVAL = 30.0
Resources = Mapping[str, float]


def require_nodes(stage: str, bundle: Resources, count: int, minutes: float) -> None:
    """Return once the cluster's nodes have room for ``count`` workers, busy or not; prints what it waits for.

    Args:
        stage: its name, for messages.
        bundle: what a worker takes of a node, by the names of Ray's resources.
        count: number of workers that must run at once.
        minutes: how long to wait; a Ray on this machine alone gets no more nodes, and is not waited for.

    Raises:
        ConfigError: this machine has less.
        StageError: the cluster has not grown in time.
    """
    from ray.util import placement_group, remove_placement_group

    connect()
    if _fitting(bundle) >= count:
        return
    if is_local():
        raise ConfigError(
            f"{stage} needs {_wanted(bundle, count)}, but this machine has {_has()}; "
            f"ask for less in {stage}'s resources, or use a cluster (RAY_ADDRESS)"
        )
    # Its pending bundles are what an autoscaler starts nodes for.
    asked, started = placement_group([dict(bundle)] * count), time.monotonic()
    try:
        while (left := 60 * minutes - (time.monotonic() - started)) > 0:
            say(f"  {stage}: waits for {_progress(bundle, count)}; up to {left / 60:.0f} min more")
            if asked.wait(min(_INTERVAL, left)) or _fitting(bundle) >= count:
                return
    finally:
        remove_placement_group(asked)
    raise StageError(
        f"{stage}: no node came in {minutes:g} min (wait_minutes of its resources): {_progress(bundle, count)}; "
        "ask for less, or start a cluster whose nodes have it, and run the same command again"
    )


@contextmanager
def watched(stage: str, bundle: Resources) -> Iterator[None]:
    """Print a line an interval while no node has room for a worker: if all are lost, Ray waits in silence."""
    import ray

    done = threading.Event()

    def watch() -> None:
        while not done.wait(_INTERVAL) and ray.is_initialized():
            if _fitting(bundle) < 1:
                say(f"  {stage}: no node is left for it; waits for {_progress(bundle, 1)}")

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def count_nodes() -> int:
    """Number of live nodes that run workers: those with CPUs."""
    return sum(resources.get("CPU", 0) > 0 for resources in _nodes())


def count_cores() -> int:
    """CPU cores of all live nodes; a Ray on this machine alone has more CPUs than there are cores."""
    if is_local():
        return cores()
    return max(1, int(sum(resources.get("CPU", 0) for resources in _nodes())))


def _fitting(bundle: Resources) -> int:
    """How many workers the live nodes have room for if nothing else ran."""
    return sum(
        min(int(resources.get(name, 0) / amount + 1e-9) for name, amount in bundle.items()) for resources in _nodes()
    )


def _nodes() -> list[Resources]:
    """What each live node has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _progress(bundle: Resources, count: int) -> str:
    nodes = f"{len(_nodes())} node{'s' * (len(_nodes()) != 1)}"
    return f"{_wanted(bundle, count)} ({_fitting(bundle)} of {count}); the cluster has {_has()} on {nodes}"


def _has() -> str:
    import ray

    return _named(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _wanted(bundle: Resources, count: int) -> str:
    workers = "a node" if count == 1 else f"nodes for {count} workers, each"
    return f"{workers} with {_named(bundle)}"


def _named(resources: Resources) -> str:
    """Resources in words, without Ray's own ones for nodes and its object store."""
    hidden = ("node:", "object_store_memory")
    shown = {name: amount for name, amount in sorted(resources.items()) if not name.startswith(hidden)}
    return ", ".join(_amount(name, amount) for name, amount in shown.items()) or "nothing"


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / 2**30:.1f} GiB memory"
    if name.startswith("accelerator_type:"):
        return name.partition(":")[2]
    return f"{amount:g} {name}"
