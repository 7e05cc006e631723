"""monoT5: an encoder-decoder that answers whether a document is relevant."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradret.config.fields import at_least, require
from gradret.teachers._first_step import FirstStep, answer_ids
from gradret.teachers._forward import ForwardGrader, ModelTeacher
from gradret.teachers._model import checked

if TYPE_CHECKING:
    import torch

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["MonoT5"]

_PROMPT = "Query: {query} Document: {document} Relevant:"


@dataclass(frozen=True)
class MonoT5(ModelTeacher):
    """``log softmax(true, false)`` of ``true`` at the decoder's first step, for ``Query: Q Document: D Relevant:``.

    Scores are log-probabilities, at most 0. If a pair is too long, the document is truncated and
    ``Relevant:`` is kept.

    Source: Nogueira et al. 2020 (2003.06713). Input, tokens and softmax are from copies of the authors'
    code, not from the paper; that code may cut ``Relevant:`` off a long pair, gradret does not.
    """

    true: str = "▁true"
    """The token for relevant, as in the tokenizer's vocabulary."""
    false: str = "▁false"
    """The token for not relevant."""
    max_length: int = 512
    """Maximum tokens per pair."""

    def __post_init__(self) -> None:
        require(max_length=at_least(1, self.max_length))
        if self.true == self.false:
            raise ValueError(f"true and false must be different tokens, got {self.true!r} for both")

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        model = checked(config, self, functools.partial(answer_ids, self, self._answers))
        return {"docs": ingested, "queries": queries, "model": model}

    def load(self, prepared: dict[str, Artifact]) -> ForwardGrader:
        return ForwardGrader(self._open, prepared, self.precision, self.resources)

    def _open(self, device: str) -> FirstStep:
        return FirstStep(self, device, _PROMPT, self._answers, _log_probability)

    @property
    def _answers(self) -> dict[str, str]:
        return {"true": self.true, "false": self.false}


def _log_probability(logits: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(dim=1)[:, 0]
