"""Write the model card of a run: ``README.md`` beside the tuned model, in the format of the Hugging Face Hub."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.progress import printable
from gradret.report.card_metadata import LANGUAGES, dataset_name, metadata
from gradret.report.headline import headline
from gradret.report.remarks import remarks
from gradret.report.summary import kinds
from gradret.stats.significance import p_text
from gradret.version import VERSION

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.stats.significance import Results
    from gradret.store.artifacts import Artifact

__all__ = ["card"]


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
        metadata=metadata(config, artifacts, results),
        language=LANGUAGES.get(str(config.dataset.language)),
        dataset_name=dataset_name(config.dataset),
        size=_size(trained.path / "model"),
        dimension=_dimension(artifacts),
        dataset=inspect.getdoc(type(config.dataset)) or "",
        trusted=config.train.encoder.trust_remote_code,
        counts={name: artifact.counts for name, artifact in artifacts.items()},
        kinds=kinds(artifacts.get("generate")),
        notes=trained.manifest["notes"],
        base_license=_base_license(artifacts),
        headline=" ".join([headline(results), *remarks(len(results.query_ids), artifacts)]),
        results=results,
        lineage=lineage,
    )


def _size(model: Path) -> dict[str, Any]:
    """Number of parameters, bytes of the weights and their types; empty if there are no weights."""
    from safetensors import safe_open

    files = sorted(model.rglob("*.safetensors"))
    parameters, kinds = 0, set()
    for path in files:
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                tensor = file.get_slice(name)
                parameters += math.prod(tensor.get_shape())
                kinds.add(tensor.get_dtype())
    bytes_ = sum(path.stat().st_size for path in files)
    return {"parameters": parameters, "bytes": bytes_, "kinds": " and ".join(sorted(kinds))} if files else {}


def _base_license(artifacts: Mapping[str, Artifact]) -> str:
    """What the base model states; empty if that was not recorded."""
    base = artifacts.get("base")
    return str(base.manifest["notes"].get("license", "")) if base else ""


def _dimension(artifacts: Mapping[str, Artifact]) -> int:
    index = artifacts.get("index.tuned")
    return int(index.manifest["notes"].get("dimension", 0)) if index else 0


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
