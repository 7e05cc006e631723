"""Models on the Hugging Face Hub that a machine can neither download nor has in its cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradret.doctor.extras import parts
from gradret.doctor.finding import Finding, all_well
from gradret.doctor.nodes import Machine
from gradret.engines.openai import OpenAI
from gradret.models.gguf import is_gguf
from gradret.models.locate import on_hub as is_on_hub

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["hub", "on_hub"]

_FIXES = {
    "GatedRepoError": "accept the model's terms on its page, and set HF_TOKEN on every node",
    "RepositoryNotFoundError": "correct the name; a private model needs HF_TOKEN on every node",
    "HFValidationError": "correct the name, or the path of the folder",
}
_FIX = "allow access to the Hub, set HF_ENDPOINT to a mirror, or name a folder or package:NAME"


def on_hub(config: Config) -> list[str]:
    """The models and adapters of the config that are neither a folder nor a package, sorted."""
    served = [part for part in parts(config) if not isinstance(part, OpenAI)]
    named = {getattr(part, name, None) for part in served for name in ("model", "lora")}
    return sorted({_repository(each) for each in named if isinstance(each, str) and each and is_on_hub(each)})


def _repository(reference: str) -> str:
    """The model, or the repository of a GGUF file: its first two names."""
    return "/".join(reference.split("/")[:2]) if is_gguf(reference) else reference


def hub(config: Config, machines: Sequence[Machine]) -> list[Finding]:
    """One finding for each model that a machine cannot get."""
    findings = [
        Finding("fault", "models", f"{machine.name} cannot get {model}: {problem}", _fix(problem))
        for machine in machines
        for model, problem in machine.facts["hub"].items()
    ]
    models = ", ".join(on_hub(config))
    return all_well("models", findings, f"{models} can be downloaded" if models else "none of the Hub")


def _fix(problem: str) -> str:
    return _FIXES.get(problem.partition(":")[0], _FIX)
