"""Check that a model folder has all that the model needs: a missing part is drawn at random without an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gradret.errors import ConfigError
from gradret.models.locate import quiet

__all__ = ["require_whole"]

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# Parts that do not make token vectors; a model with a head needs them.
_UNUSED = {"AutoModel": ("pooler.", "decoder.")}


def require_whole(folder: Path, architecture: str = "AutoModel", *, trust_remote_code: bool = False) -> None:
    """Check a transformers model, or a sentence-transformers model's transformer, without loading its weights.

    Folders with other models are not checked, and what cannot be opened is left to the library that opens it.

    Args:
        folder: the model's.
        architecture: the class of transformers that opens it, such as ``AutoModelForCausalLM``.
        trust_remote_code: allow the folder's own Python code to run.

    Raises:
        ConfigError: the weights are pickled or lack a tensor, or the tokenizer has no vocabulary; names the folder.
    """
    quiet()
    place = _transformer(folder)
    if place is None or (place / "adapter_config.json").is_file():
        return
    pickles = [path.name for pattern in _PICKLES for path in sorted(place.glob(pattern))]
    if pickles and not list(place.glob("*.safetensors")):
        raise ConfigError(
            f"the model in {folder} has pickled weights only ({', '.join(pickles)}), which can run code; load it where "
            "you trust it and save it with save_pretrained, as model.safetensors"
        )
    missing = _missing(place, architecture, trust_remote_code=trust_remote_code)
    if missing:
        raise ConfigError(
            f"the weights of the model in {folder} lack {len(missing)} tensors that its config.json names, such as "
            f"{missing[0]}, which would be random; restore the folder"
        )
    if not _has_vocabulary(place, trust_remote_code=trust_remote_code):
        raise ConfigError(
            f"the tokenizer of the model in {folder} has no vocabulary; the folder needs tokenizer.json or a "
            "vocabulary file"
        )


def _transformer(folder: Path) -> Path | None:
    """Return the folder of the transformer; None if there is none."""
    place = folder
    try:
        if (folder / "modules.json").is_file():
            first = json.loads((folder / "modules.json").read_text(encoding="utf-8"))[0]
            if not str(first["type"]).endswith(".Transformer"):
                return None
            place = folder / str(first["path"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return place if (place / "config.json").is_file() else None


def _missing(place: Path, architecture: str, *, trust_remote_code: bool) -> list[str]:
    """Names of the tensors that the checkpoint lacks."""
    import transformers

    try:
        _, loading = getattr(transformers, architecture).from_pretrained(
            place,
            device_map="meta",
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except Exception:  # each library raises its own; opening the model says it
        return []
    return sorted(name for name in loading["missing_keys"] if not name.startswith(_UNUSED.get(architecture, ())))


def _has_vocabulary(place: Path, *, trust_remote_code: bool) -> bool:
    """Whether the tokenizer has more than special tokens: without a vocabulary file transformers makes it of these."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code)
        return bool(set(tokenizer.get_vocab()) - {str(token) for token in tokenizer.added_tokens_decoder.values()})
    except Exception:  # as above
        return True
