"""The text of each token of a tokenizer, for WordPiece, BPE, byte-level BPE and Unigram alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import Decoder

__all__ = ["Vocabulary", "plain", "read_vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id."""

    texts: list[str]
    """Each token's text, without marks such as ``##``, ``Ġ`` or ``▁``; empty for an id without a token."""
    whole: np.ndarray
    """Whether the token starts a word; for a tokenizer that marks the ends of words, whether it ends one."""
    special: np.ndarray
    """Whether the token was added to the vocabulary, such as ``[CLS]``."""


def read_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Decode each token after a letter: a token that starts a word is decoded with a space before it."""
    size = 1 + max(tokenizer.get_vocab().values())
    tokens = [tokenizer.id_to_token(number) or "" for number in range(size)]
    added = tokenizer.get_added_tokens_decoder()
    special = np.array([number in added for number in range(size)])
    decoder = _decoder(tokenizer)
    if decoder is None:
        return Vocabulary(tokens, np.ones(size, bool), special)
    decoded = [decoder.decode(["a", token])[1:] for token in tokens]
    whole = np.array([text.startswith(" ") for text in decoded])
    if not whole.any():
        whole = np.array([decoder.decode([token, "a"]).endswith(" a") for token in tokens])
    return Vocabulary([text.strip() for text in decoded], whole, special)


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that does not truncate, pad or add special tokens, and that reads a text's first word as any other.

    If a space is part of the token that follows it, as in byte-level BPE, a text's first word has no space and would
    be a different token from the same word elsewhere. The copy puts a space before each text.
    """
    settings = json.loads(tokenizer.to_str()) | {"truncation": None, "padding": None, "post_processor": None}
    copy = Tokenizer.from_str(json.dumps(settings))
    whole = read_vocabulary(copy).whole
    first = copy.encode("a", add_special_tokens=False).ids
    if whole.all() or not first or whole[first[0]]:
        return copy
    normalizers = [{"type": "Prepend", "prepend": " "}, settings["normalizer"]]
    settings["normalizer"] = {"type": "Sequence", "normalizers": [each for each in normalizers if each]}
    return Tokenizer.from_str(json.dumps(settings))


def _decoder(tokenizer: Tokenizer) -> Decoder | None:
    """The tokenizer's decoder; that of WordPiece keeps the spaces before punctuation."""
    settings: dict[str, Any] = json.loads(tokenizer.to_str())
    model, decoder = settings["model"], settings["decoder"]
    if model["type"] == "WordPiece" and (not decoder or decoder["type"] == "WordPiece"):
        settings["decoder"] = {"type": "WordPiece", "prefix": model["continuing_subword_prefix"], "cleanup": False}
    found: Decoder | None = Tokenizer.from_str(json.dumps(settings)).decoder
    return found
