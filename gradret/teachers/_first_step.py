"""Score a pair by the logits of an encoder-decoder's first decoding step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gradret.errors import ConfigError
from gradret.models.locate import locate
from gradret.models.whole import require_whole
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
    """A ``Forward`` that runs ``AutoModelForSeq2SeqLM``.

    Args:
        settings: the teacher's settings.
        device: the device of the model.
        prompt: the input, with ``{query}`` and ``{document}``. If it is too long, the end of the document is
            cut; the text after the document is kept.
        answers: the possible answer tokens, by the settings field that names each.
        score: computes scores ``(n,)`` from the answer tokens' logits, ``(n, answers)`` float32.
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
        suffix = prompt.rpartition("{document}")[2].strip()
        self.suffix_length = len(self.tokens(suffix)["input_ids"])

    def tokenize(self, pairs: Sequence[Pair]) -> list[Row | None]:
        import numpy as np

        texts = [self.prompt.format(query=query, document=document) for query, document in pairs]
        return [{"input_ids": np.array(self._truncate(ids), np.int32)} for ids in self.tokens(texts)["input_ids"]]

    def _truncate(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.limit:
            return ids
        return ids[: self.limit - self.suffix_length] + ids[len(ids) - self.suffix_length :]

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        import torch

        first = torch.full_like(batch["input_ids"][:, :1], self.model.config.decoder_start_token_id)
        logits = self.model(**batch, decoder_input_ids=first, use_cache=False).logits
        return self.score(logits[:, 0, self.answers].float())


def answer_ids(settings: _Settings, answers: dict[str, str]) -> dict[str, int]:
    """Return the ids of the tokens in ``answers``, by field, without loading the weights.

    Raises:
        ConfigError: the model is not an encoder-decoder, or its tokenizer lacks a token.
    """
    from transformers import AutoConfig

    with opening(settings):
        folder: Path = locate(settings.model, settings.sha256, code=settings.trust_remote_code)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code)
        tokens = tokenizer(settings, folder, trust_remote_code=settings.trust_remote_code)
    if not config.is_encoder_decoder:
        raise ConfigError(f"the model {settings.model!r} is a {config.model_type}, not an encoder-decoder such as T5")
    require_whole(folder, "AutoModelForSeq2SeqLM", trust_remote_code=settings.trust_remote_code)
    return {field: token_id(settings, tokens, token, field) for field, token in answers.items()}
