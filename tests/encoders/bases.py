"""Tiny transformers of several kinds, with their usual tokenizers, as bases of static encoders."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

TEXTS = [
    "The council spent money on the harbour school in the river town.",
    "A stone tower stands in the market garden; the engine hums, and the engines hum.",
    "Walking and walks: the walker walked. Walk in the market, walk on the stone.",
]
WEIGHT = {
    "wordpiece": "embeddings.word_embeddings.weight",
    "bytes": "embed_tokens.weight",
    "bytes_with_prefix": "embeddings.tok_embeddings.weight",
    "unigram": "shared.weight",
    "unigram_without_prefix": "embed_tokens.weight",
    "suffix": "tokens_embed.weight",
}
"""Where the checkpoint of a kind has its input embeddings."""
_SIZES = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_MODELS = {
    "wordpiece": ("bert", {}),
    "bytes": ("qwen2", {"num_key_value_heads": 2}),
    "bytes_with_prefix": ("modernbert", {}),
    "unigram": ("t5", {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}),
    "unigram_without_prefix": ("llama", {}),
    "suffix": ("openai-gpt", {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 32}),
}


def base(folder: Path, kind: str, padding: int = 0, **options: object) -> Path:
    """A transformers folder of ``kind``, whose embeddings have ``padding`` rows that no token has."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_tokenizer(kind), unk_token="[UNK]", pad_token="[PAD]")
    tokenizer.save_pretrained(folder)
    model_type, more = _MODELS[kind]
    size = 1 + max(tokenizer.get_vocab().values()) + padding
    sizes = _SIZES | more | {"vocab_size": size, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **sizes))
    model.save_pretrained(folder, **options)
    return folder


def _pieces() -> list[tuple[str, float]]:
    """All words of the texts, and their letters."""
    words = {"▁" + word.strip(".,:;") for text in TEXTS for word in (text + " " + text.lower()).split()}
    letters = {"▁", *"".join(TEXTS).replace(" ", "")}
    special = [("[PAD]", 0.0), ("[UNK]", 0.0)]
    return special + [(word, -1.0) for word in sorted(words)] + [(letter, -9.0) for letter in sorted(letters)]


def _tokenizer(kind: str) -> Tokenizer:
    special = ["[PAD]", "[UNK]"]
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
    elif kind.startswith("bytes"):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind == "bytes_with_prefix")
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    elif kind.startswith("unigram"):
        tokenizer = Tokenizer(models.Unigram(_pieces(), unk_id=1))
        scheme = "never" if kind == "unigram_without_prefix" else "always"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
        return tokenizer
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.BPEDecoder("</w>")
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, end_of_word_suffix="</w>")
    tokenizer.train_from_iterator([*TEXTS, *(text.lower() for text in TEXTS)] * 20, trainer)
    return tokenizer
