"""A random Llama of two layers with a chat template, which an engine can load."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT = 8192
END = 36.0


TEXTS = ("the wing of an aircraft in a supersonic flow, and the heat of a plate",)


def write(
    folder: Path,
    chat_template: str | None = TEMPLATE,
    *,
    texts: Iterable[str] = TEXTS,
    vocabulary: int = 400,
    hidden: int = 128,
    layers: int = 2,
) -> Path:
    """The model's folder; its tokenizer is trained on ``texts``."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer_of(chat_template, texts, vocabulary)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,  # vLLM's CPU attention wants heads of 32 or more
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    for weight in model.parameters():
        if weight.dim() > 1:  # wide enough that probabilities differ
            torch.nn.init.normal_(weight, std=0.2)
    _let_it_end(model, tokenizer.eos_token_id)
    model.save_pretrained(folder)
    return folder


def _let_it_end(model: Any, eos: int) -> None:
    """Make the end of the answer likely at each token, so that most answers end after a dozen.

    One dimension of the residual stream is the same everywhere and speaks for this token alone.
    """
    model.requires_grad_(requires_grad=False)
    model.model.embed_tokens.weight[:, 0] = 2.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0.0
        layer.mlp.down_proj.weight[0] = 0.0
    model.lm_head.weight[:, 0] = 0.0
    model.lm_head.weight[eos] = 0.0
    model.lm_head.weight[eos, 0] = END


def tokenizer_of(chat_template: str | None, texts: Iterable[str], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = chat_template
    return fast
