"""Write the model card of a run: ``README.md`` beside the tuned model, in the format of the Hugging Face Hub."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.progress import printable
from gradret.report.page import headline, kinds
from gradret.report.remarks import remarks
from gradret.stats.significance import p_text
from gradret.version import VERSION

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.stats.significance import Results
    from gradret.store.artifacts import Artifact

__all__ = ["card"]

# Names of Snowball's stemmers as ISO 639-1 codes, which the Hub expects.
_LANGUAGES = {
    "arabic": "ar", "armenian": "hy", "basque": "eu", "catalan": "ca", "czech": "cs", "danish": "da", "dutch": "nl",
    "dutch_porter": "nl", "english": "en", "esperanto": "eo", "estonian": "et", "finnish": "fi", "french": "fr",
    "german": "de", "greek": "el", "hindi": "hi", "hungarian": "hu", "indonesian": "id", "irish": "ga",
    "italian": "it", "lithuanian": "lt", "nepali": "ne", "norwegian": "no", "persian": "fa", "polish": "pl",
    "porter": "en", "portuguese": "pt", "romanian": "ro", "russian": "ru", "serbian": "sr", "sesotho": "st",
    "spanish": "es", "swedish": "sv", "tamil": "ta", "turkish": "tr", "yiddish": "yi",
}  # fmt: skip


def card(config: Config, artifacts: Mapping[str, Artifact], results: Results, lineage: Mapping[str, Any]) -> str:
    """Render the card as Markdown with YAML front matter; sections of missing artifacts are left out.

    It describes data, losses, teacher, results and limits, and states only what the run recorded. Since a card is
    published, it shows only the last part of paths in the config.

    Args:
        config: the run's config.
        artifacts: the run's artifacts by name; must include ``train``.
        results: results of the evaluated systems; may be empty.
        lineage: the content of ``lineage.json``.
    """
    from jinja2 import Environment, StrictUndefined

    # Markdown needs no HTML escaping: names and texts that others chose pass the filters `code` or `plain`.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    environment.filters |= {"p_text": p_text, "shown": _one_line, "code": _code, "plain": _plain}
    source = resources.files("gradret.report").joinpath("card.md.jinja").read_text(encoding="utf-8")
    trained = artifacts["train"]
    return environment.from_string(source).render(
        config=config,
        version=VERSION,
        language=_LANGUAGES.get(_language(config)),
        stemmer=_language(config),
        base_model=_hub_id(config.train.encoder.model),
        dataset=inspect.getdoc(type(config.dataset)) or "",
        trusted=config.train.encoder.trust_remote_code,
        counts={name: artifact.counts for name, artifact in artifacts.items()},
        kinds=kinds(artifacts.get("generate")),
        notes=trained.manifest["notes"],
        headline=" ".join([headline(results), *remarks(len(results.query_ids), artifacts)]),
        results=results,
        lineage=lineage,
    )


def _language(config: Config) -> str:
    return str(config.dataset.language)


def _hub_id(reference: str) -> str:
    """``reference`` if it is a Hub id; empty if it is a folder or a package."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(reference)
    except HFValidationError:
        return ""
    return "" if Path(reference).is_dir() else reference


def _code(text: str) -> str:
    """``text`` as a code span, which ends at no backtick of the text (CommonMark, 6.1)."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{printable(text)}{space}{fence}"


def _plain(text: str) -> str:
    """``text`` in one line, without meaning in Markdown or HTML (CommonMark, 2.4)."""
    return re.sub(r"([\\`*\[\]<>#!|&~$]|(?<!\w)_|_(?!\w))", r"\\\1", printable(" ".join(text.split())))


def _one_line(value: object) -> str:
    """A value of the config in one line: a component with all its fields, a path by its last part."""
    if is_dataclass(value) and not isinstance(value, type):
        settings = {f.name: getattr(value, f.name) for f in fields(value) if f.name != "resources"}
        settings = {name: item for name, item in settings.items() if item not in (None, "")}
        return name_of(value) + (f" ({_one_line(settings)})" if settings else "")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_one_line(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return " + ".join(_one_line(item) for item in value)
    if isinstance(value, str):
        # Not Path.exists, which raises if the text is too long for a path.
        is_path = os.path.isabs(value) or os.path.exists(value)  # noqa: PTH110, PTH117
        return Path(value).name if is_path else " ".join(value.split())
    return f"{value:g}" if isinstance(value, float) else str(value)
