"""Run a saved static model without sentence-transformers, whose import takes seconds: workers encode with torch alone.

``gradret search`` encodes one query without torch too.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.store.checksums import check

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch

__all__ = ["StaticModel", "read_static", "write_static"]

_MODULES = ["StaticEmbedding", "Normalize"]
_FILE, _WEIGHTS = "model.safetensors", "embedding.weight"
_SMALLEST = 1e-12
"""Norm below which a vector is not scaled further, as in ``torch.nn.functional.normalize``."""


def read_static(folder: Path) -> StaticModel | None:
    """Read the static model in ``folder``; None if it is of another kind and sentence-transformers must load it.

    Raises:
        DamagedError: the folder is part of an artifact, and a file of it is damaged.
    """
    modules = folder / "modules.json"
    if not modules.is_file():
        return None
    check(folder)
    kinds = [module["type"].rpartition(".")[2] for module in json.loads(modules.read_text(encoding="utf-8"))]
    settings = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    plain = not any((settings.get("prompts") or {}).values()) and not settings.get("truncate_dim")
    model = StaticModel(folder) if plain and kinds == _MODULES else None
    return model if model and model.complete else None


def write_static(folder: Path, like: Path, weights: torch.Tensor) -> None:
    """Write the static model in ``like``, which ``read_static`` reads, with other weights."""
    from safetensors.torch import save_file

    shutil.copytree(like, folder, dirs_exist_ok=True)
    save_file({_WEIGHTS: weights.contiguous()}, folder / _FILE)


class StaticModel:
    """The mean of a text's token vectors, scaled to length 1; a text without tokens has the vector 0.

    Equals sentence-transformers' StaticEmbedding and Normalize up to rounding.
    """

    def __init__(self, folder: Path) -> None:
        import numpy as np
        from safetensors import safe_open
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        with safe_open(folder / _FILE, "numpy") as file:
            self.complete = _WEIGHTS in file.keys() and file.get_slice(_WEIGHTS).get_dtype() == "F32"  # noqa: SIM118
            self.vectors = file.get_tensor(_WEIGHTS) if self.complete else np.zeros((0, 0), np.float32)
        self.unknown = self.tokenizer.token_to_id(getattr(self.tokenizer.model, "unk_token", None) or "")

    def knows(self, text: str) -> bool:
        """Whether the vocabulary has any token of ``text``; if not, its vector says nothing."""
        return any(number != self.unknown for number in self.tokenizer.encode(text, add_special_tokens=False).ids)

    def bags(self, device: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Return the function of token ids, and of the place where each text's begin, that returns the texts' vectors.

        Its results are those of sentence-transformers, bit by bit.
        """
        import torch
        from torch.nn import functional

        weight = torch.from_numpy(self.vectors).to(device)

        def run(ids: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
            return functional.normalize(functional.embedding_bag(ids, weight, starts, mode="mean"), dim=1)

        return run

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return ``(len(texts), dimension)``, float32, without torch."""
        import numpy as np

        encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        vectors = np.zeros((len(texts), self.vectors.shape[1]), np.float32)
        for vector, encoding in zip(vectors, encodings, strict=True):
            if encoding.ids:
                vector[:] = self.vectors[encoding.ids].mean(axis=0)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: np.ndarray = vectors / np.maximum(norms, np.float32(_SMALLEST))
        return scaled
