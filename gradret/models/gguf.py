"""GGUF files as models: converted once to a folder that transformers, sentence-transformers and vLLM load.

vLLM 0.29 reads no GGUF, and transformers reads it slowly and for its own models only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from gradret.errors import ConfigError
from gradret.progress import say
from gradret.store.atomic import atomic

__all__ = ["cache_folder", "converted", "is_gguf"]


def is_gguf(reference: str) -> bool:
    """Whether ``reference`` names a GGUF file, on this machine or on the Hub."""
    return reference.lower().endswith(".gguf")


def converted(reference: str) -> Path:
    """Return the folder with the file's weights in bfloat16, its tokenizer and its license; converts a new file.

    The folder's name is the file's SHA-256, so a file is converted again only when its content changes.

    Args:
        reference: a path, or ``OWNER/NAME/FILE`` for a file of a Hub repository, which is downloaded if needed.

    Raises:
        ConfigError: the file does not exist, cannot be read, or is of an architecture that transformers does not
            convert; or the package gguf is not installed.
    """
    file = _file(reference)
    folder = cache_folder("gguf") / _sha256(file)
    if not folder.is_dir():
        if importlib.util.find_spec("gguf") is None:
            raise ConfigError(f"model {reference}: the package gguf is not installed; pip install 'gradret[gguf]'")
        say(f"  model {reference}: converts {file.stat().st_size / 1e6:,.0f} MB of GGUF once, to {folder}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic(folder) as draft:
                _convert(file, draft)
        except Exception as error:  # readers of a damaged file raise whatever comes first
            if not folder.is_dir():  # else another process has converted it meanwhile
                raise ConfigError(f"model {reference}: cannot convert it from GGUF: {error}") from error
    return folder


def cache_folder(name: str) -> Path:
    """A folder for what can be made again, in the user's folder for such files (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradret" / name


def _file(reference: str) -> Path:
    path = Path(reference)
    if path.is_file():
        return path.absolute()
    repository, _, file = reference.partition("/")[2].partition("/")
    if path.is_absolute() or not file:
        raise ConfigError(f"model {reference}: there is no such file")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(f"{reference.partition('/')[0]}/{repository}", file))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(
            f"model {reference}: there is no such file, and it could not be downloaded from the Hub ({error})"
        ) from error


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"model {file}: {error.strerror}") from error


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    plain = GgufConfig(dequantize=True)
    model: Any = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.bfloat16, quantization_config=plain)
    # transformers refuses to save a model that it has read from GGUF, although its weights are plain now.
    model.hf_quantizer = None
    vars(model.config).pop("quantization_config", None)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
    (folder / "README.md").write_text(_card(file), encoding="utf-8")


def _card(file: Path) -> str:
    """A model card with the license that the file states."""
    from gguf import GGUFReader
    from huggingface_hub import ModelCardData

    field = GGUFReader(file).get_field("general.license")
    license_ = str(field.contents()) if field else None
    return f"---\n{ModelCardData(license=license_).to_yaml()}\n---\n\nConverted by gradret from {file.name}.\n"
