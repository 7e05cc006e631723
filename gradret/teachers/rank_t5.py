"""RankT5: an encoder-decoder trained to rank, scored by one token's logit."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradret.config.fields import at_least, require
from gradret.teachers._first_step import FirstStep, answer_ids
from gradret.teachers._forward import ForwardGrader, ModelTeacher
from gradret.teachers._model import checked

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["RankT5"]

_PROMPT = "Query: {query} Document: {document}"


@dataclass(frozen=True)
class RankT5(ModelTeacher):
    """Logit of the token ``<extra_id_10>`` at the decoder's first step, for ``Query: Q Document: D``.

    Source: Zhuang et al. 2022 (2210.10634), which we did not read. Input, token, length and bfloat16 are those of
    Tamber et al. 2025 (2502.19712), whose teacher is RankT5-3B; verified in the paper and its code.
    """

    token: str = "<extra_id_10>"  # noqa: S105
    """The token whose logit is the score."""
    max_length: int = 512
    """Maximum tokens per pair; the end of the document is truncated."""

    def __post_init__(self) -> None:
        require(max_length=at_least(1, self.max_length))

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        model = checked(config, self, functools.partial(answer_ids, self, self._answers))
        return {"docs": ingested, "queries": queries, "model": model}

    def load(self, prepared: dict[str, Artifact]) -> ForwardGrader:
        return ForwardGrader(self._open, prepared, self.precision, self.resources)

    def _open(self, device: str) -> FirstStep:
        return FirstStep(self, device, _PROMPT, self._answers, lambda logits: logits[:, 0])

    @property
    def _answers(self) -> dict[str, str]:
        return {"token": self.token}
