"""A decoder reranker: a causal language model that answers yes or no."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradret.config.fields import at_least, location, require
from gradret.errors import ConfigError
from gradret.models.chat import ChatTemplate
from gradret.models.locate import locate
from gradret.models.whole import require_whole
from gradret.prompts import messages
from gradret.teachers._forward import ForwardGrader, ModelTeacher, Pair, Row
from gradret.teachers._model import checked, opening, token_id, tokenizer

if TYPE_CHECKING:
    import torch

    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["DecoderReranker"]


@dataclass(frozen=True)
class DecoderReranker(ModelTeacher):
    """``logit(yes) - logit(no)`` of the token after the prompt, or its sigmoid, as for Qwen3-Reranker.

    The sigmoid equals the softmax over the two tokens. If the tokenizer has a chat template, it is applied to
    the prompt, with thinking off. If the chat template takes the roles query and document instead of user, as
    sentence-transformers' CrossEncoder gives them, they are used, with ``instruction`` as the system's text and without
    ``template``. Only the document is truncated; if the prompt still exceeds the model's context, the pair is
    quarantined. A model trained on a fixed wording scores best with that wording:
    write it as a ``template``.

    Source: Qwen3 Embedding (2506.05176); that its score is the softmax over yes and no, and its tags
    Instruct, Query and Document, are from secondary descriptions of the model card. The wording of the
    default template is gradret's.
    """

    instruction: str = "Find documents that answer the query."
    """The instruction, a variable of the template."""
    template: str = location("rerank/yes_no")
    """A template, or a path that ends in .jinja, with a variable ``system`` and a macro
    ``user(query, document, instruction)``."""
    yes: str = "yes"
    """The token for relevant, as in the tokenizer's vocabulary."""
    no: str = "no"
    """The token for not relevant."""
    score: Literal["logit", "probability"] = "logit"
    """The difference of the logits, or its sigmoid, in [0, 1]."""
    max_doc_tokens: int = 1024
    """Maximum tokens per document; the rest is truncated."""

    def __post_init__(self) -> None:
        require(max_doc_tokens=at_least(1, self.max_doc_tokens))
        if self.yes == self.no:
            raise ValueError(f"yes and no must be different tokens, got {self.yes!r} for both")

    @property
    def templates(self) -> tuple[str, ...]:
        """Their content enters the fingerprint."""
        return (self.template,)

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        _messages(self)
        return {"docs": ingested, "queries": queries, "model": checked(config, self, self._check)}

    def load(self, prepared: dict[str, Artifact]) -> ForwardGrader:
        return ForwardGrader(functools.partial(_Model, self), prepared, self.precision, self.resources)

    def _check(self) -> Mapping[str, object]:
        from transformers import AutoConfig

        with opening(self):
            folder = locate(self.model, self.sha256, code=self.trust_remote_code)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=self.trust_remote_code)
        if config.is_encoder_decoder:
            raise ConfigError(
                f"teacher decoder_reranker: {self.model!r} is an encoder-decoder ({config.model_type}); "
                "use the teacher mono_t5 or rank_t5"
            )
        tokens = _Prompts(self)
        require_whole(folder, "AutoModelForCausalLM", trust_remote_code=self.trust_remote_code)
        return {"yes": tokens.yes, "no": tokens.no, "chat_template": tokens.chat is not None}


class _Prompts:
    """Writes prompts and tokenizes them."""

    def __init__(self, settings: DecoderReranker) -> None:
        with opening(settings):
            folder = locate(settings.model, settings.sha256, code=settings.trust_remote_code)
            self.tokens = tokenizer(settings, folder, trust_remote_code=settings.trust_remote_code)
        self.settings = settings
        self.chat = ChatTemplate(self.tokens, enable_thinking=False) if self.tokens.chat_template else None
        self.pair_roles = _pair_roles(settings, self.chat) if self.chat else ()
        self.yes = token_id(settings, self.tokens, settings.yes, "yes")
        self.no = token_id(settings, self.tokens, settings.no, "no")
        self.system, self.user = _messages(settings)

    def rows(self, pairs: Sequence[Pair]) -> list[list[int]]:
        documents = self._truncate([document for _, document in pairs])
        texts = [self._prompt(query, document) for (query, _), document in zip(pairs, documents, strict=True)]
        ids: list[list[int]] = self.tokens(texts, add_special_tokens=False)["input_ids"]
        return ids

    def _truncate(self, documents: Sequence[str]) -> list[str]:
        """Truncate the documents to ``max_doc_tokens`` tokens."""
        longest = self.settings.max_doc_tokens
        unique = list(dict.fromkeys(documents))
        offsets = self.tokens(unique, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        ends = {
            text: spans[longest][0] if len(spans) > longest else len(text)
            for text, spans in zip(unique, offsets, strict=True)
        }
        return [text[: ends[text]] for text in documents]

    def _prompt(self, query: str, document: str) -> str:
        user = self.user(query=query, document=document, instruction=self.settings.instruction)
        if not self.chat:
            return f"{self.tokens.bos_token or ''}{self.system}\n\n{user}\n\n"
        if self.pair_roles:
            texts = {"system": self.settings.instruction, "query": query, "document": document}
            return self.chat.render({"role": role, "content": texts[role]} for role in self.pair_roles)
        return self.chat.text([{"role": "system", "content": self.system}, {"role": "user", "content": user}])


def _pair_roles(settings: DecoderReranker, chat: ChatTemplate) -> tuple[str, ...]:
    """The roles of a pair's messages where the template is a reranker's; else none.

    Raises:
        ConfigError: the template shows neither a user's message nor a query and a document.
    """
    if not chat.shows("user"):
        for roles in (("system", "query", "document"), ("query", "document")):
            if chat.shows(*roles):
                return roles
        chat.require_user(
            f"teacher decoder_reranker: {settings.model}",
            "use a model whose template takes the roles system and user, or query and document",
        )
    return ()


class _Model:
    # With padding on the left, the answer follows the last token of every row.
    side: Literal["left", "right"] = "left"

    def __init__(self, settings: DecoderReranker, device: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.prompts = _Prompts(settings)
        with opening(settings):
            folder = locate(settings.model, code=settings.trust_remote_code)
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=settings.trust_remote_code
            )
        self.model = model.to(device).eval()
        self.longest: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.padding = {"input_ids": self.prompts.tokens.pad_token_id or 0}
        self.probability = settings.score == "probability"

    def tokenize(self, pairs: Sequence[Pair]) -> list[Row | None]:
        import numpy as np

        rows = self.prompts.rows(pairs)
        fits = [self.longest is None or len(ids) <= self.longest for ids in rows]
        return [{"input_ids": np.array(ids, np.int32)} if fit else None for ids, fit in zip(rows, fits, strict=True)]

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        # Count positions from the first real token, so that padding does not shift them.
        positions = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        logits = self.model(**batch, position_ids=positions, logits_to_keep=1, use_cache=False).logits[:, -1].float()
        scores: torch.Tensor = logits[:, self.prompts.yes] - logits[:, self.prompts.no]
        return scores.sigmoid() if self.probability else scores


def _messages(settings: DecoderReranker) -> Any:
    return messages(settings.template, query="", document="", instruction="")
