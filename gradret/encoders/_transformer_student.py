"""A transformer during training."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from gradret.errors import ConfigError
from gradret.models.dropout import set_dropout
from gradret.models.locate import open_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["WEIGHTS", "TransformerStudent"]

# Load float32 master weights whatever the stored dtype; never unpickle.
WEIGHTS = {"dtype": torch.float32, "use_safetensors": True}
_TOKENIZER_BATCH = 1024


class TransformerStudent(torch.nn.Module):
    """The transformer during training; see ``gradret.training.step.Student``.

    Vectors come from the saved modules, on texts padded on the right to the longest in the batch.
    """

    def __init__(self, encoder: Any, folder: Path, device: str) -> None:
        super().__init__()
        trusted = encoder.trust_remote_code
        self.model = open_model(folder, trust_remote_code=trusted, device=device, model_kwargs=WEIGHTS)
        transformer: Any = self.model[0]
        self.dimension = self.model.get_embedding_dimension() or 0
        if encoder.search_query_length:
            transformer.query_length = encoder.query_length
        lengths = {"docs": transformer.document_length, "queries": transformer.query_length}
        longest = self.model.max_seq_length or sys.maxsize
        self.lengths: dict[str, int] = {name: length or longest for name, length in lengths.items()}
        self.dropout, self.autocast = encoder.dropout, encoder.precision == "bfloat16"
        with warnings.catch_warnings():
            # Recent transformers 5 renamed this method; peft and the call below still use the old name.
            warnings.simplefilter("ignore", FutureWarning)
            self.adapted = _with_adapters(self.model, encoder) if encoder.lora_rank else None
            if encoder.gradient_checkpointing:
                transformer.model.gradient_checkpointing_enable({"use_reentrant": False})
        set_dropout(self.model, encoder.dropout)
        self.eval()

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:  # noqa: FBT001, FBT002 - torch's
        """Yield only the parameters that require a gradient."""
        return (parameter for parameter in super().parameters(recurse) if parameter.requires_grad)

    def restrict(self, ids: np.ndarray) -> None:
        """Do nothing: a transformer trains the embeddings of all tokens."""

    def tokenize(self, texts: list[str], table: Literal["docs", "queries"]) -> list[np.ndarray]:
        """Tokenize as sentence-transformers does, truncated to the model's length for ``table``."""
        task = {"docs": "document", "queries": "query"}[table]
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), _TOKENIZER_BATCH):
            part = texts[start : start + _TOKENIZER_BATCH]
            features = self.model.preprocess(part, prompt=self.model.prompts[task], task=task)
            masks = features["attention_mask"].bool()
            rows += [ids[mask].numpy().astype(np.int32) for ids, mask in zip(features["input_ids"], masks, strict=True)]
        return rows

    def forward(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        transformer: Any = self.model[0]
        like = next(self.model.parameters())
        features = {name: tensor.to(like.device) for name, tensor in self._padded(ids, starts).items()}
        with torch.autocast(like.device.type, torch.bfloat16, enabled=self.autocast):
            features = transformer(features)
        name = transformer.module_output_name
        features[name] = features[name].to(like.dtype)
        for module in list(self.model)[1:]:
            features = module(features)
        vectors: torch.Tensor = features["sentence_embedding"]
        return vectors

    def _padded(self, ids: np.ndarray, starts: np.ndarray) -> dict[str, torch.Tensor]:
        """Return tensors of shape ``(n, longest)``, with at least one column even if all texts are empty."""
        lengths = np.diff(starts)
        mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
        padded = np.full(mask.shape, self.model.tokenizer.pad_token_id, np.int64)
        padded[mask] = ids
        return {"input_ids": torch.from_numpy(padded), "attention_mask": torch.from_numpy(mask.astype(np.int64))}

    def save(self, folder: Path) -> None:
        """Write the model as a sentence-transformers folder, with adapters merged into the weights."""
        transformer: Any = self.model[0]
        trained = transformer.model
        if self.adapted is not None:
            transformer.model = copy.deepcopy(self.adapted).merge_and_unload()
        try:
            self.model.save(str(folder), create_model_card=False)
        finally:
            transformer.model = trained


def _with_adapters(model: SentenceTransformer, encoder: Any) -> Any:
    """Add adapters to the model's layers and freeze everything else; return the peft model.

    Raises:
        ConfigError: ``lora_targets`` matches no layer.
    """
    from peft import LoraConfig, get_peft_model

    model.requires_grad_(requires_grad=False)
    settings = LoraConfig(
        r=encoder.lora_rank,
        lora_alpha=encoder.lora_alpha,
        target_modules=encoder.lora_targets,
        lora_dropout=encoder.dropout,
    )
    transformer: Any = model[0]
    try:
        return get_peft_model(transformer.model, settings)
    except ValueError as error:
        raise ConfigError(f"lora_targets: {encoder.lora_targets!r} matches no layer ({error})") from error
