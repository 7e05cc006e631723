"""GPUs that the config wants, against those of the cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gradret.doctor.finding import Finding, all_well
from gradret.engines.vllm import Vllm

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.doctor.nodes import Machine

__all__ = ["Want", "gpus", "wanted"]

_STAGES = ("dedupe", "generate", "mine", "label", "encode", "index", "search")


@dataclass(frozen=True)
class Want:
    """GPUs for the workers of a stage."""

    stage: str
    key: str
    """The setting that asks for them."""
    gpus: float
    """GPUs per worker."""
    workers: int = 1
    """Number of workers that must run at once."""


def wanted(config: Config) -> list[Want]:
    """What the stages want, those without GPUs left out."""
    wants = [
        Want(stage, f"{stage}.resources.gpus", getattr(config, stage).resources.gpus, 1)
        for stage in _STAGES
        if getattr(config, stage).resources.gpus
    ]
    if config.train.resources.gpus:
        resources = config.train.resources
        wants.append(Want("train", "train.resources.gpus", resources.gpus, resources.num_workers))
    return wants + list(_engines(config))


def _engines(config: Config) -> Iterator[Want]:
    for stage, component in (("generate", config.generate.generator), ("label", config.label.teacher)):
        engine = component.engine if component is not None and component.asks_llm else None
        if engine is not None and engine.gpus:
            key = f"{stage}'s engine" + (" (its resources.cpus is 0)" if isinstance(engine, Vllm) else "")
            yield Want(stage, key, engine.gpus, engine.engines)


def gpus(config: Config, nodes: Sequence[Machine]) -> list[Finding]:
    """Stages whose workers the cluster cannot hold as it is; a warning in a cluster, which may start more nodes."""
    level: Literal["warning", "fault"] = "warning" if os.environ.get("RAY_ADDRESS") else "fault"
    has = [node.resources.get("GPU", 0.0) for node in nodes]
    findings = []
    for want in wanted(config):
        room = sum(int(each // want.gpus) for each in has) if want.gpus <= max(has, default=0) else 0
        if room < want.workers:
            workers = f"{want.workers} worker{'s' * (want.workers > 1)}"
            text = f"{want.key} wants {want.gpus:g} GPU for {workers}, and the cluster has {sum(has):g} for {room}"
            fix = "set it to 0, or add nodes with GPUs; the stage waits for a cluster that grows by itself"
            findings.append(Finding(level, "GPUs", text, fix))
    wants = ", ".join(f"{want.stage} {want.gpus:g} x {want.workers}" for want in wanted(config))
    return all_well("GPUs", findings, f"{wants or 'none wanted'}; the cluster has {sum(has):g}")
