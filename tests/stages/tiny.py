"""Models and artifacts that are created quickly."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from gradret.store import contracts
from gradret.store.artifacts import Artifact, make

WORDS = [a + b + c for a in "bdfgk" for b in "aiou" for c in "lmnrs"]


def artifact(storage: Path, stage: str, tables: Mapping[str, list[list[dict[str, Any]]]], **counts: int) -> Artifact:
    """An artifact with these tables, each a list of shards."""

    def _body(draft: Any) -> None:
        for table, shards in tables.items():
            for number, rows in enumerate(shards):
                draft.write(table, pa.Table.from_pylist(rows, contracts.schema(table)), number)
        draft.count(**counts)

    settings = {"tables": dict(tables), "counts": counts}
    return make(stage, str(storage), module=__name__, settings=settings, inputs={}, body=_body)


def query(number: int, text: str, source: str | None = None, split: str | None = None) -> dict[str, Any]:
    return {
        "query_id": f"q{number:03d}",
        "text": text,
        "split": split,
        "source_doc_id": source,
        "kind": "test",
        "generator": "human" if split else "test",
    }


def doc(number: int, text: str, title: str | None = None) -> dict[str, Any]:
    return {"doc_id": f"d{number:03d}", "title": title, "text": text, "origin": "corpus"}


def sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


def model(storage: Path, kind: str) -> Artifact:
    """MODEL: ``static``, or ``transformer`` of two layers that reads 16 tokens."""

    def _body(draft: Any) -> None:
        import torch

        torch.manual_seed(1)
        (_static if kind == "static" else _transformer)(draft.folder("model"))

    return make("base", str(storage), module=__name__, settings={"kind": kind}, inputs={}, body=_body)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def _static(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    static = StaticEmbedding(_tokenizer(), embedding_dim=12)
    SentenceTransformer(modules=[static, Normalize()], device="cpu").save(str(folder), create_model_card=False)


def _transformer(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    source = plain(folder.parent / "transformer", "bert")
    layer = Transformer(str(source), max_seq_length=16)
    modules = [layer, Pooling(16), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)


def plain(folder: Path, kind: str, **options: Any) -> Path:
    """A transformers folder of two layers and 32 positions: ``bert``, ``modernbert``, ``roberta`` or ``decoder``.

    The decoder's tokenizer adds nothing to a text and has no padding token. ``options`` are the tokenizer's.
    """
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    tokenizer = _tokenizer()
    tokens = {"unk_token": "[UNK]", "eos_token": "[SEP]"}
    if kind != "decoder":
        ends = [("[CLS]", 2), ("[SEP]", 3)]
        tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
        tokens = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"vocab_size": len(WORDS) + 4, "max_position_embeddings": 32, "pad_token_id": 0}
    model_type = "llama" if kind == "decoder" else kind
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **sizes, bos_token_id=2, eos_token_id=3))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens, **options).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder
