"""Open the model of a cross-encoder, to score pairs or to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradret.errors import ConfigError
from gradret.models.locate import positions
from gradret.teachers._model import opening

__all__ = ["UNPADDED", "open_cross_encoder"]

UNPADDED: dict[str, Any] = {"common": {"return_tensors": None}, "text": {"padding": False}}
"""Options of ``CrossEncoder.preprocess`` that leave each pair at its own length, as lists."""


def open_cross_encoder(settings: Any, folder: Path, device: str, **options: Any) -> Any:
    """Open the model in ``folder`` as a sentence-transformers cross-encoder of one label, in float32.

    Args:
        settings: ``max_length`` and ``trust_remote_code`` apply.
        folder: the model's.
        device: of the weights.
        options: further arguments of sentence-transformers' ``CrossEncoder``; with ``num_labels`` the head may be new.

    Raises:
        ConfigError: it cannot be opened, or is no cross-encoder of one label.
    """
    import torch
    from sentence_transformers import CrossEncoder as CrossEncoderModel

    with opening(settings):
        model: Any = CrossEncoderModel(
            str(folder),
            device=device,
            trust_remote_code=settings.trust_remote_code,
            max_length=settings.max_length,
            model_kwargs={"dtype": torch.float32},
            **options,
        )
    _check_model(settings, model, new_head="num_labels" in options)
    _limit_length(settings, model)
    return model


def _check_model(settings: Any, model: Any, *, new_head: bool) -> None:
    task = getattr(model[0], "transformer_task", None)
    if task in ("text-generation", "any-to-any"):
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} is a generative model; use the teacher decoder_reranker"
        )
    architectures = getattr(model.config, "architectures", None) or []
    saved_as = ", ".join(architectures) or "an unknown architecture"
    has_head = settings.trust_remote_code or any(name.endswith("ForSequenceClassification") for name in architectures)
    if task == "sequence-classification" and not (has_head or new_head):
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} was saved as {saved_as}, "
            "not for sequence classification: its scores would come from random weights; use a trained cross-encoder"
        )
    if model.num_labels != 1:
        raise ConfigError(
            f"teacher cross_encoder: {settings.model!r} has {model.num_labels} labels, expected 1: "
            "the relevance of the document; use a cross-encoder trained to rank"
        )


def _limit_length(settings: Any, model: Any) -> None:
    """Limit pairs to the number of positions that the model has."""
    longest = positions(model)
    if longest is None:
        return
    if settings.max_length is not None and settings.max_length > longest:
        raise ConfigError(
            f"teacher cross_encoder: max_length must be at most {longest}, the limit of {settings.model!r}, "
            f"got {settings.max_length}"
        )
    model.max_seq_length = min(model.max_seq_length or longest, longest)
