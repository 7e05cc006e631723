"""Encode texts with an exported ONNX model: needs onnxruntime, tokenizers and numpy only.

``python encode.py query "the query"`` prints a vector. Rank documents by the inner product of their vectors with the
query's. A document's text is its title, a space and its text.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Encoder:
    """The model in ``folder``."""

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / "encode.json").read_text(encoding="utf-8"))
        self.prompts: dict[str, str] = settings["prompts"]
        self.lengths: dict[str, int | None] = settings["lengths"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def encode(self, kind: str, texts: list[str], batch_size: int = 32) -> np.ndarray:
        """Return the vectors of texts, ``(texts, dimension)`` float32; ``kind`` is ``query`` or ``document``."""
        if length := self.lengths[kind]:
            self.tokenizer.enable_truncation(length)
        texts = [self.prompts[kind] + text for text in texts]
        return np.concatenate(
            [self._batch(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
        )

    def _batch(self, texts: list[str]) -> np.ndarray:
        rows = self.tokenizer.encode_batch(texts)
        inputs = {
            "input_ids": np.array([row.ids for row in rows], np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
        }
        vectors: np.ndarray = self.session.run(["sentence_embedding"], inputs)[0]
        return vectors


if __name__ == "__main__":
    _, given, *words = sys.argv
    print(Encoder(Path(__file__).parent).encode(given, [" ".join(words)])[0].tolist())
