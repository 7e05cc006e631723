"""Tell under what license a model is, as far as it says so itself."""

from __future__ import annotations

import functools
from importlib import metadata
from pathlib import Path
from typing import Any

from gradret.models.gguf import is_gguf
from gradret.models.locate import locate, on_hub
from gradret.progress import say

__all__ = ["say_license", "stated_license"]


@functools.cache
def say_license(reference: str) -> None:
    """Print what license a model states, once a process: whoever uses it should know before it is used."""
    say(f"  model {reference}: {stated_license(reference)}")


def stated_license(reference: str) -> str:
    """Return ``license X (from its card)``, or where else it is stated, or that it is not, or could not be read.

    Args:
        reference: as in ``locate``; of a Hub id, the card is downloaded if needed, and nothing else.

    Raises:
        ConfigError: there is no such folder, package or file.
    """
    folder = locate(reference) if is_gguf(reference) or not on_hub(reference) else None
    card = folder / "README.md" if folder else _hub_card(reference)
    if card is None:
        return "license unknown: its card could not be downloaded"
    if found := _in_card(card):
        return f"license {found} (from its {'file' if is_gguf(reference) else 'card'})"
    if folder and (files := sorted(path.name for path in folder.glob("LICENSE*"))):
        return f"license in its file {files[0]}"
    if found := _of_package(reference):
        return f"license {found} (from its package)"
    return "no license stated"


def _in_card(card: Path) -> str:
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        data = metadata_load(card) or {}
    except (OSError, ValueError, YAMLError):  # there is no card, or none that can be read
        return ""
    name = data.get("license")
    return str((data.get("license_name") if name == "other" else None) or name or "")


def _hub_card(reference: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(reference, "README.md"))
    except (HfHubHTTPError, HFValidationError, OSError):
        return None


def _of_package(reference: str) -> str:
    try:
        about: Any = metadata.metadata(reference.removeprefix("package:"))
    except (metadata.PackageNotFoundError, ValueError):
        return ""
    return str(about.get("License-Expression") or about.get("License") or "").partition("\n")[0]
