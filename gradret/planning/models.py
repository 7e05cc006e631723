"""Operations of the transformers that a config runs outside language model engines: encoders and rerankers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

from gradret.components import name_of

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.planning.sizes import Sizes

__all__ = ["ModelWork", "linear_parameters", "model_work"]

_TOKENS_PER_WORD = 1.3
"""Assumed: word pieces of an English word."""
_QUERY_TOKENS = 16
"""Assumed."""
_TRAINING_PASSES = 4
"""Forward passes that cost as much as a step: one without gradients, one with, and a backward pass of two."""


@dataclass(frozen=True)
class ModelWork:
    """A transformer's work in a stage."""

    stage: str
    model: str
    operations: float | None
    """Floating-point operations, 2 per linear parameter and token; None if the model's size is unknown."""
    gpus: float
    """GPUs per worker; 0 runs on CPU cores."""


def model_work(config: Config, sizes: Sizes) -> list[ModelWork]:
    """The work of the student, if it is a transformer, and of a teacher that scores pairs with its own model."""
    return [*_student(config, sizes), *_teacher(config, sizes)]


def _student(config: Config, sizes: Sizes) -> Iterator[ModelWork]:
    encoder, train = config.train.encoder, config.train
    if encoder is None or name_of(encoder) != "transformer":
        return
    tokens = min(_TOKENS_PER_WORD * sizes.words, encoder.document_length)
    texts = sizes.queries * train.epochs * (train.list_length * tokens + _QUERY_TOKENS)
    yield _work("train", encoder.model, _TRAINING_PASSES * texts, train.resources.gpus)
    yield _work("encode", encoder.model, 2 * sizes.documents * tokens, config.encode.resources.gpus)


def _teacher(config: Config, sizes: Sizes) -> Iterator[ModelWork]:
    teacher = config.label.teacher
    if teacher is None or teacher.asks_llm or not getattr(teacher, "model", "") or sizes.pairs is None:
        return
    tokens = _TOKENS_PER_WORD * sizes.words + _QUERY_TOKENS
    if teacher.searches:  # encodes every text once
        yield _work("encode", teacher.model, sizes.documents * tokens, config.encode.resources.gpus)
        return
    yield _work("label", teacher.model, sizes.pairs * tokens, config.label.resources.gpus)
    yield _work("check", teacher.model, config.check.queries * 100 * tokens, config.label.resources.gpus)


def _work(stage: str, model: str, tokens: float, gpus: float) -> ModelWork:
    parameters = linear_parameters(model)
    return ModelWork(stage, model, parameters and 2 * parameters * tokens, gpus)


@cache
def linear_parameters(model: str) -> float | None:
    """Parameters of a model without its embeddings, from its safetensors headers; None if unknown."""
    from huggingface_hub import get_local_safetensors_metadata, get_safetensors_metadata

    from gradret.models.locate import locate, on_hub

    try:
        folder = None if on_hub(model) else locate(model)
        read: Any = get_local_safetensors_metadata if folder else get_safetensors_metadata
        files = read(folder or model).files_metadata.values()
    except Exception:  # no files, model or Hub; the errors depend on its HTTP library, which changes
        return None
    tensors = {name: info.shape for file in files for name, info in file.tensors.items()}
    return float(sum(prod(shape) for name, shape in tensors.items() if "embed" not in name)) or None
