"""The model card of a run: ``README.md`` beside the tuned model, as Hugging Face and people read it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.report.page import headline, kinds
from gradret.stats.significance import p_text
from gradret.version import VERSION

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.stats.significance import Results
    from gradret.store.artifacts import Artifact

__all__ = ["card"]

# Snowball's names as ISO 639-1, which the hub asks for.
_LANGUAGES = {
    "arabic": "ar", "armenian": "hy", "basque": "eu", "catalan": "ca", "czech": "cs", "danish": "da", "dutch": "nl",
    "dutch_porter": "nl", "english": "en", "esperanto": "eo", "estonian": "et", "finnish": "fi", "french": "fr",
    "german": "de", "greek": "el", "hindi": "hi", "hungarian": "hu", "indonesian": "id", "irish": "ga",
    "italian": "it", "lithuanian": "lt", "nepali": "ne", "norwegian": "no", "persian": "fa", "polish": "pl",
    "porter": "en", "portuguese": "pt", "romanian": "ro", "russian": "ru", "serbian": "sr", "sesotho": "st",
    "spanish": "es", "swedish": "sv", "tamil": "ta", "turkish": "tr", "yiddish": "yi",
}  # fmt: skip


def card(config: Config, artifacts: Mapping[str, Artifact], results: Results, lineage: Mapping[str, Any]) -> str:
    """The card as Markdown under YAML front matter; what the run did not make is left out.

    It names data, losses, teacher, results and limits, and says only what the run recorded. Of a
    file or folder in the config it gives the last name alone: a card is published.

    Args:
        config: of the run.
        artifacts: what the run made, by name; ``train`` is among them.
        results: of the systems that were evaluated; may hold none.
        lineage: what ``lineage.json`` holds.
    """
    from jinja2 import Environment, StrictUndefined

    # Markdown: there is nothing to escape.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    environment.filters |= {"p_text": p_text, "shown": _shown}
    source = resources.files("gradret.report").joinpath("card.md.jinja").read_text(encoding="utf-8")
    trained = artifacts["train"]
    return environment.from_string(source).render(
        config=config,
        version=VERSION,
        language=_LANGUAGES.get(_language(config)),
        stemmer=_language(config),
        base_model=_hub_id(getattr(config.train.encoder, "model", "")),
        dataset=inspect.getdoc(type(config.dataset)) or "",
        trusted=getattr(config.train.encoder, "trust_remote_code", False),
        counts={name: artifact.counts for name, artifact in artifacts.items()},
        kinds=kinds(artifacts.get("generate")),
        notes=trained.manifest["notes"],
        headline=headline(results),
        results=results,
        lineage=lineage,
    )


def _language(config: Config) -> str:
    return getattr(config.dataset, "language", "none")


def _hub_id(reference: str) -> str:
    """``reference`` if it is neither a folder nor a package, empty otherwise."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(reference)
    except HFValidationError:
        return ""
    return "" if Path(reference).is_dir() else reference


def _shown(value: object) -> str:
    """A value of the config in one line: a component with all its fields, of a path the last name."""
    if is_dataclass(value) and not isinstance(value, type):
        own = {f.name: getattr(value, f.name) for f in fields(value) if f.name != "resources"}
        own = {name: one for name, one in own.items() if one not in (None, "")}
        return name_of(value) + (f" ({_shown(own)})" if own else "")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return " + ".join(_shown(one) for one in value)
    if isinstance(value, str):
        # Not Path.exists, which raises for a text too long to be a path.
        is_path = os.path.isabs(value) or os.path.exists(value)  # noqa: PTH110, PTH117
        return Path(value).name if is_path else " ".join(value.split())
    return f"{value:g}" if isinstance(value, float) else str(value)
