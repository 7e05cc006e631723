"""An encoder-decoder that answers a pair with one token: logits of its first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gradret.errors import ConfigError
from gradret.models.locate import locate
from gradret.teachers._forward import Pair, Row
from gradret.teachers._model import opening, token_id, tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    import torch

__all__ = ["FirstStep", "answer_ids"]


class _Settings(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def max_length(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def trust_remote_code(self) -> bool: ...


class FirstStep:
    """A ``Forward`` over ``AutoModelForSeq2SeqLM``.

    Args:
        settings: the teacher.
        device: where the model goes.
        prompt: what it reads, with ``{query}`` and ``{document}``. Of a pair that is too long the end of the
            document is cut; what follows it in the prompt is kept.
        answers: tokens that it may answer, by the field that names each.
        score: of their logits, ``(n, answers)`` float32.
    """

    side: Literal["left", "right"] = "right"

    def __init__(
        self,
        settings: _Settings,
        device: str,
        prompt: str,
        answers: dict[str, str],
        score: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM

        self.limit, self.prompt, self.score = settings.max_length, prompt, score
        with opening(settings):
            folder = locate(settings.model, settings.sha256, code=settings.trust_remote_code)
            self.tokens = tokenizer(settings, folder, trust_remote_code=settings.trust_remote_code)
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=settings.trust_remote_code
            )
        self.model = model.to(device).eval()
        self.answers = [token_id(settings, self.tokens, token, field) for field, token in answers.items()]
        self.padding = {"input_ids": self.tokens.pad_token_id or 0}
        after = prompt.rpartition("{document}")[2].strip()
        self.after = len(self.tokens(after)["input_ids"])

    def tokenize(self, pairs: Sequence[Pair]) -> list[Row | None]:
        import numpy as np

        texts = [self.prompt.format(query=query, document=document) for query, document in pairs]
        return [{"input_ids": np.array(self._cut(ids), np.int32)} for ids in self.tokens(texts)["input_ids"]]

    def _cut(self, ids: list[int]) -> list[int]:
        return ids if len(ids) <= self.limit else ids[: self.limit - self.after] + ids[len(ids) - self.after :]

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        import torch

        first = torch.full_like(batch["input_ids"][:, :1], self.model.config.decoder_start_token_id)
        logits = self.model(**batch, decoder_input_ids=first, use_cache=False).logits
        return self.score(logits[:, 0, self.answers].float())


def answer_ids(settings: _Settings, answers: dict[str, str]) -> dict[str, int]:
    """Ids of the tokens that ``answers`` names by field; opens no weights.

    Raises:
        ConfigError: the model is no encoder-decoder, or has no such token.
    """
    from transformers import AutoConfig

    with opening(settings):
        folder: Path = locate(settings.model, settings.sha256, code=settings.trust_remote_code)
        found = AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code)
        tokens = tokenizer(settings, folder, trust_remote_code=settings.trust_remote_code)
    if not found.is_encoder_decoder:
        raise ConfigError(f"the model {settings.model!r} is a {found.model_type}, not an encoder-decoder such as T5")
    return {field: token_id(settings, tokens, token, field) for field, token in answers.items()}
