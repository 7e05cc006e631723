"""GPUs that the installed builds cannot use, and GPU memory that others hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gradret.doctor.cards import Card, cards, holders
from gradret.doctor.finding import Finding, all_well
from gradret.doctor.wanted import wanted

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.doctor.nodes import Machine

__all__ = ["builds", "memory"]

_HELD = 1024
"""GPU memory in MiB that nobody accounts for; a driver alone takes some hundred."""
_SEARCHES = ("index", "search")


def builds(config: Config | None, machines: Sequence[Machine]) -> list[Finding]:
    """Builds of torch, FAISS and vLLM that do not match the machines' GPUs; a fault where the config wants GPUs."""
    stages = {want.stage for want in wanted(config)} if config else set()
    findings = [each for machine in machines if machine.facts["gpus"] for each in _builds(stages, machine)]
    found = [f"{machine.name}: {_summary(machine)}" for machine in machines if machine.facts["gpus"]]
    return all_well("GPU builds", findings, ", ".join(found) or "no machine has a GPU that nvidia-smi shows")


def memory(machines: Sequence[Machine]) -> list[Finding]:
    """GPU memory that is held before the run starts, by a process or by none."""
    findings = [each for machine in machines if machine.facts["gpus"] for each in _held(machine)]
    return all_well("GPU memory", findings, "free, or there is no GPU")


def _builds(stages: set[str], machine: Machine) -> Iterator[Finding]:
    gpus, versions = machine.facts["gpus"], machine.facts["versions"]
    level: Literal["warning", "fault"] = "fault" if stages else "warning"
    for problem, fix in _torch_problems(cards(gpus["cards"]), gpus):
        yield Finding(level, "GPU builds", f"{machine.name}: {problem}", fix)
    if not gpus["faiss"] and stages.intersection(_SEARCHES):
        fix = "pip uninstall faiss-cpu, then pip install 'gradret[gpu]'"
        yield Finding("fault", "GPU builds", f"{machine.name}: FAISS is its CPU build", fix)
    if "cpu" in versions.get("vllm", "").lower():
        text = f"{machine.name}: vLLM {versions['vllm']} is a CPU build"
        yield Finding(level, "GPU builds", text, "pip install 'gradret[vllm]' in an environment without it")


def _torch_problems(found: list[Card], gpus: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Problems of torch with the cards, each with its fix."""
    torch = gpus["torch"]
    if not torch:
        return
    if not torch["cuda"]:
        yield f"torch is a CPU build and does not use {found[0].name}", "install torch's CUDA build"
        return
    if gpus["cuda"] and _major(gpus["cuda"]) < _major(torch["cuda"]):
        text = f"the driver {found[0].driver} supports CUDA {gpus['cuda']}, and torch needs {torch['cuda']}"
        yield text, "update the NVIDIA driver, or install a torch built for an older CUDA"
        return
    for card in {card.name: card for card in found}.values():
        if torch["architectures"] and not runs_on(torch["architectures"], card.capability):
            has = " ".join(torch["architectures"])
            text = f"torch has no code for {card.name} (sm_{card.capability[0]}{card.capability[1]}), only {has}"
            yield text, "install a torch built for this GPU"


def runs_on(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether code for one of the architectures runs on a GPU.

    ``sm_86`` is machine code, which runs on its own major version from its minor version on; ``compute_80`` is
    compiled on the GPU, from its version on.
    """
    for architecture in architectures:
        parts = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
        if not parts:
            continue
        version = int(parts[2]), int(parts[3])
        same = version == capability if parts[4] else version[0] == capability[0] and version[1] <= capability[1]
        if same or (parts[1] == "compute" and not parts[4] and version <= capability):
            return True
    return False


def _held(machine: Machine) -> Iterator[Finding]:
    gpus = machine.facts["gpus"]
    using = holders(gpus["processes"])
    for card in cards(gpus["cards"]):
        on_card = [holder for holder in using if holder.uuid == card.uuid]
        for holder in on_card:
            alive = holder.pid in gpus["pids"]
            what = f"{holder.used:,} MiB" if holder.used else "memory"
            who = f"process {holder.pid} ({holder.name})" + ("" if alive else ", which is not alive here")
            fix = f"end it: kill {holder.pid}" if alive else "end it on the host, or restart the machine or container"
            yield Finding("warning", "GPU memory", f"{machine.name}: {what} of {card.name} is held by {who}", fix)
        if card.used - sum(holder.used for holder in on_card) > _HELD and not on_card:
            text = (
                f"{machine.name}: {card.used:,} of {card.total:,} MiB of {card.name} is held by no process shown here"
            )
            fix = "look for it with nvidia-smi on the host: a process of another container, or one that died"
            yield Finding("warning", "GPU memory", text, fix)


def _summary(machine: Machine) -> str:
    gpus = machine.facts["gpus"]
    found = cards(gpus["cards"])
    return f"{len(found)} x {found[0].name}, driver {found[0].driver}, torch for CUDA {gpus['torch'].get('cuda', '-')}"


def _major(version: str) -> int:
    return int(version.partition(".")[0])
