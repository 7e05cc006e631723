"""Random models of two layers, of every kind that scores pairs, with different weights each time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

WORDS = [a + b + c for a in "bdfgk" for b in "aiou" for c in "lmnrs"]
CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if enable_thinking is defined and not enable_thinking %}"
    "<|quiet|>{% endif %}{% endif %}"
)
_SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_POSITIONS = 64


def sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


def bert(folder: Path, labels: int = 1, **config: Any) -> Path:
    """A cross-encoder with token types that reads 64 tokens."""
    from transformers import BertConfig, BertForSequenceClassification

    tokens = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = _words([*tokens.values()], "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    settings = BertConfig(vocab_size=len(WORDS) + 4, max_position_embeddings=_POSITIONS, num_labels=labels, **_SIZES)
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return _save(folder, BertForSequenceClassification(settings), tokenizer, config, **tokens, model_input_names=inputs)


def roberta(folder: Path, **config: Any) -> Path:
    """A cross-encoder of XLM-RoBERTa's kind: positions count from behind the padding token, and it reads 62."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    tokens = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = _words([*tokens.values()], "<s> $A </s>", "<s> $A </s> </s> $B </s>")
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    settings = XLMRobertaConfig(
        vocab_size=len(WORDS) + 4, max_position_embeddings=_POSITIONS, num_labels=1, type_vocab_size=1, **ids, **_SIZES
    )
    model = XLMRobertaForSequenceClassification(settings)
    inputs = ["input_ids", "attention_mask"]
    return _save(
        folder, model, tokenizer, config, **tokens, model_input_names=inputs, cls_token="<s>", sep_token="</s>"
    )


def t5(folder: Path) -> Path:
    """An encoder-decoder whose tokens are whole words with their space before, as sentencepiece has them."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import T5Config, T5ForConditionalGeneration

    known = [
        "<pad>",
        "</s>",
        "<unk>",
        *(f"▁{word}" for word in ["Query:", "Document:", "Relevant:", "true", "false", *WORDS]),
    ]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens([AddedToken(f"<extra_id_{number}>") for number in range(12)])
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    settings = T5Config(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(settings)
    return _save(folder, model, tokenizer, {}, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def decoder(folder: Path, chat_template: str | None = CHAT, *, kind: str = "qwen3", **options: Any) -> Path:
    """A causal language model that knows ``yes`` and ``no``; ``options`` are the tokenizer's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM

    special = ["<s>", "</s>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>", "<|quiet|>", "yes", "no"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS)], trainer)
    settings = AutoConfig.for_model(
        kind,
        vocab_size=tokenizer.get_vocab_size(),
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        **_SIZES,
    )
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "chat_template": chat_template}
    return _save(folder, AutoModelForCausalLM.from_config(settings), tokenizer, {}, **tokens, **options)


def _words(special: list[str], single: str, pair: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    unknown = next(token for token in special if "unk" in token.lower())
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(token, vocabulary[token]) for token in special]
    tokenizer.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=ends)
    return tokenizer


def _save(folder: Path, model: Any, tokenizer: Any, config: dict[str, Any], **tokens: Any) -> Path:
    import torch
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.dim() > 1:  # wide enough that scores differ
            torch.nn.init.normal_(weight, std=0.2)
    for name, value in config.items():
        setattr(model.config, name, value)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens).save_pretrained(folder)
    return folder
