"""Ask the driver's machine and every node of the cluster for their facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradret.doctor import facts as module
from gradret.doctor.facts import facts

__all__ = ["DRIVER", "Machine", "ask_driver", "ask_nodes"]

DRIVER = "the driver"
_SECONDS = 120.0
"""Time for the nodes to answer; a worker has to start, and may have to import torch."""


@dataclass(frozen=True)
class Machine:
    """A machine, and what it told."""

    name: str
    facts: Mapping[str, Any]
    resources: Mapping[str, float]
    """Of a Ray node: ``CPU``, ``GPU``, ``object_store_memory`` in bytes and others; empty for the driver's machine."""
    problem: str = ""
    """Why it told nothing."""


def ask_driver(question: Mapping[str, Any]) -> Machine:
    """The facts of this process's machine."""
    return Machine(DRIVER, facts(dict(question)), {})


def ask_nodes(question: Mapping[str, Any]) -> list[Machine]:
    """The facts of every node that is alive; Ray must be connected. Reserves nothing on them."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    with _by_value():
        remote = ray.remote(num_cpus=0, max_retries=0)(facts)
        asked = [
            remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                dict(question)
            )
            for node in nodes
        ]
        ray.wait(asked, num_returns=len(asked), timeout=_SECONDS)
    names = _names(nodes)
    return [_machine(name, node, answer) for name, node, answer in zip(names, nodes, asked, strict=True)]


def _names(nodes: list[Mapping[str, Any]]) -> list[str]:
    """The nodes' addresses, with the start of their id where two have the same."""
    addresses = [node["NodeManagerAddress"] for node in nodes]
    return [
        f"node {address}" + (f" ({node['NodeID'][:8]})" if addresses.count(address) > 1 else "")
        for address, node in zip(addresses, nodes, strict=True)
    ]


def _machine(name: str, node: Mapping[str, Any], answer: Any) -> Machine:
    import ray

    resources = node.get("Resources", {})
    try:
        return Machine(name, ray.get(answer, timeout=0), resources)
    except ray.exceptions.GetTimeoutError:
        return Machine(name, {}, resources, f"did not answer in {_SECONDS:.0f} s")
    except ray.exceptions.RayError as error:
        return Machine(name, {}, resources, str(error).strip().splitlines()[-1])


@contextmanager
def _by_value() -> Iterator[None]:
    """Send the code that collects facts with the task, because a node may have another version of it, or none."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]
