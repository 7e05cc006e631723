"""Packages that the config needs and a machine lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.doctor.finding import Finding, all_well
from gradret.doctor.nodes import Machine
from gradret.models.gguf import is_gguf

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["extras", "needed", "parts"]

_ALWAYS = {"faiss": "gradret[cpu] or gradret[gpu]"}
_COMPONENTS = {
    "gradret.engines.vllm": ("vllm", "gradret[vllm], or see docs/engines.md for a CPU"),
    "gradret.engines.openai": ("openai", "gradret[openai]"),
    "gradret.datasets.hf": ("datasets", "gradret[hf]"),
    "gradret.datasets.irds": ("ir_datasets", "gradret[irds]"),
}
"""Module and what to install, by the component that needs it."""


def needed(config: Config | None) -> dict[str, str]:
    """What to install for each module that the config needs."""
    wanted = dict(_ALWAYS)
    for part in parts(config):
        wanted |= dict([_COMPONENTS[type(part).__module__]] if type(part).__module__ in _COMPONENTS else [])
        model = getattr(part, "model", None)
        if isinstance(model, str) and model.startswith("package:"):
            name = model.removeprefix("package:")
            wanted[name.replace("-", "_")] = name
        elif isinstance(model, str) and is_gguf(model):
            wanted["gguf"] = "gradret[gguf]"
    return wanted


def parts(value: Any) -> Iterator[Any]:
    """All dataclasses inside ``value``, itself included."""
    if is_dataclass(value) and not isinstance(value, type):
        yield value
        for f in fields(value):
            yield from parts(getattr(value, f.name))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from parts(each)
    elif isinstance(value, dict):
        yield from parts(list(value.values()))


def extras(config: Config | None, machines: Sequence[Machine]) -> list[Finding]:
    """One finding for each package that a machine lacks."""
    wanted = needed(config)
    findings = [
        Finding("fault", "packages", f"{machine.name} has no {name}{_why(config, name)}", f"pip install {wanted[name]}")
        for machine in machines
        for name in machine.facts["missing"]
    ]
    return all_well("packages", findings, f"{', '.join(wanted)} on every machine")


def _why(config: Config | None, module: str) -> str:
    users = [name_of(part) for part in parts(config) if _COMPONENTS.get(type(part).__module__, ("",))[0] == module]
    return f", which {users[0]} needs" if users else ""
