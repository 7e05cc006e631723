"""The static encoder's model during training."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn import functional

from gradret.models.locate import open_model
from gradret.models.static import read_static, write_static

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

__all__ = ["StaticStudent"]


class StaticStudent(torch.nn.Module):
    """The static model during training; see ``gradret.training.step.Student``.

    Only tokens that occur in the training texts are trained; the others would have no gradient.
    """

    dropout = 0.0

    def __init__(self, folder: Path, device: str) -> None:
        super().__init__()
        self.folder = folder
        weight = self._read(folder)
        self.weight = torch.nn.Parameter(weight.to(device))
        self.tokens = np.arange(len(self.weight))
        self.row_of = self.tokens.astype(np.int32)
        self.dimension: int = self.weight.shape[1]
        self.lengths = dict.fromkeys(("docs", "queries"), sys.maxsize)

    def _read(self, folder: Path) -> torch.Tensor:
        """Set what the model does beside its weights, and return these."""
        self.tokenizer: Tokenizer
        if plain := read_static(folder):
            self.prompts, self.normalize, self.tokenizer = {"docs": "", "queries": ""}, True, plain.tokenizer
            return torch.from_numpy(plain.vectors)
        model = open_model(folder)
        self.prompts = {"docs": model.prompts["document"] or "", "queries": model.prompts["query"] or ""}
        self.normalize = len(model) > 1
        self.tokenizer = _static(model).tokenizer
        weight: torch.Tensor = _static(model).embedding.weight.detach()
        return weight

    def restrict(self, ids: np.ndarray) -> None:
        """Train only the tokens ``ids`` (ascending); from now on ``forward`` accepts no others."""
        rows = torch.from_numpy(self.row_of[ids].astype(np.int64)).to(self.weight.device)
        self.weight = torch.nn.Parameter(self.weight.detach()[rows])
        self.tokens = ids.astype(np.int64)
        self.row_of[ids] = range(len(ids))

    def tokenize(self, texts: list[str], table: Literal["docs", "queries"]) -> list[np.ndarray]:
        """Return each text's token ids, ascending: order does not matter here, and sorted ids sum faster."""
        prompted = [self.prompts[table] + text for text in texts]
        encodings = self.tokenizer.encode_batch(prompted, add_special_tokens=False)
        return [np.sort(np.array(encoding.ids, np.int32)) for encoding in encodings]

    def forward(self, ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        counts = np.ones(len(ids), np.float32)
        bags = sp.csr_matrix((counts, self.row_of[ids], starts), shape=(len(starts) - 1, len(self.weight)))
        bags.sum_duplicates()
        sums: torch.Tensor = _BagSum.apply(self.weight, bags)  # type: ignore[no-untyped-call]
        if self.normalize:
            return functional.normalize(sums, dim=1)
        return sums / torch.from_numpy(np.diff(starts)).to(sums).clamp(min=1)[:, None]

    def save(self, folder: Path) -> None:
        """Write the model with its current weights as a sentence-transformers folder."""
        rows, trained = torch.from_numpy(self.tokens), self.weight.detach()
        if plain := read_static(self.folder):
            weight = torch.from_numpy(plain.vectors)
            weight[rows] = trained.to(weight)
            write_static(folder, self.folder, weight)
            return
        model = open_model(self.folder)
        weight = _static(model).embedding.weight.data
        weight[rows] = trained.to(weight)
        model.save(str(folder), create_model_card=False)


def _static(model: SentenceTransformer) -> Any:
    """Return the model's StaticEmbedding."""
    return model[0]


class _BagSum(torch.autograd.Function):
    """Compute ``bags @ weight`` with a sparse product in the backward pass too."""

    @staticmethod
    def forward(context: Any, weight: torch.Tensor, bags: Any) -> torch.Tensor:
        context.bags = bags
        return _csr(bags, weight) @ weight

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradients[0].contiguous()
        return _csr(context.bags.T.tocsr(), gradient) @ gradient, None


def _csr(matrix: Any, like: torch.Tensor) -> torch.Tensor:
    """Return ``matrix`` as a CSR tensor with the dtype and device of ``like``."""
    with warnings.catch_warnings():
        # torch warns that its CSR layout is in beta; the product used here is MKL's or cuSPARSE's.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)).to(like.device),
            torch.from_numpy(matrix.indices.astype(np.int64)).to(like.device),
            torch.from_numpy(matrix.data).to(like),
            size=matrix.shape,
        )
