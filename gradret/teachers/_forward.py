"""Score pairs with a model's forward pass: shared by the teachers that read query and document together.

Pairs are tokenized once, without padding, and sorted by length; each batch takes as many as fit a budget of
padded tokens. So batches contain almost no padding, and short pairs fill a batch as well as long ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from gradret.config.fields import at_least, location, require
from gradret.models.inference import BATCH_TOKENS, assigned_device, token_batches
from gradret.teachers import Teacher
from gradret.texts import doc_texts
from gradret.work.session import cores

if TYPE_CHECKING:
    import numpy as np
    import torch

    from gradret.store.artifacts import Artifact

__all__ = ["Forward", "ForwardGrader", "ForwardResources", "ModelTeacher", "Pair", "Row"]

Pair = tuple[str, str]
"""The texts of a query and a document."""

Row = dict[str, "np.ndarray"]
"""``input_ids`` of one pair, and the model's other inputs per token, each ``(tokens,)``."""

_TOKENIZER_BATCH = 512


@dataclass(frozen=True)
class ForwardResources:
    """Threads and batch size; affects speed, and scores only in their last bits."""

    threads: int = 0
    """CPU threads per worker; 0 uses all cores of the machine."""
    batch_tokens: int = 0
    """Tokens per batch, padding included; 0 is 1,024 on a CPU and 65,536 on a GPU."""

    def __post_init__(self) -> None:
        require(**{name: at_least(0, getattr(self, name)) for name in ("threads", "batch_tokens")})


@dataclass(frozen=True)
class ModelTeacher(Teacher):
    """The fields shared by teachers that run a model over pairs."""

    model: str = location()
    """A folder, a GGUF file, ``package:NAME``, or a Hub id."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16`` runs the model under autocast; weights stay float32."""
    sha256: str = ""
    """Expected SHA-256 of the weights; empty skips the check."""
    trust_remote_code: bool = False
    """Run Python code shipped with the model. Read that code first."""
    resources: ForwardResources = ForwardResources()
    """``threads`` and ``batch_tokens``."""

    reranks: ClassVar[bool] = True
    threaded: ClassVar[bool] = True


class Forward(Protocol):
    """A loaded model that scores pairs."""

    padding: dict[str, int]
    """The padding value of each input in a row."""
    side: Literal["left", "right"]
    """The side that is padded."""

    def tokenize(self, pairs: Sequence[Pair]) -> list[Row | None]:
        """Return a row per pair, truncated to the model's length; None if the pair cannot be made to fit."""

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return scores ``(n,)`` of padded rows; each input and ``attention_mask`` is ``(n, longest)``."""


class ForwardGrader:
    """A Grader that scores with a ``Forward``.

    Args:
        load: loads the model on a device: ``cuda`` if Ray gave this process a GPU, else ``cpu``.
        prepared: the artifacts of ``Teacher.prepare``, DOCS among them.
        precision: ``bfloat16`` runs the model under autocast.
        resources: threads and batch size.
    """

    def __init__(
        self,
        load: Callable[[str], Forward],
        prepared: dict[str, Artifact],
        precision: Literal["float32", "bfloat16"],
        resources: ForwardResources,
    ) -> None:
        import torch

        torch.set_num_threads(resources.threads or cores())
        self.device = assigned_device()
        self.model, self.prepared, self.precision = load(self.device), prepared, precision
        self.budget = resources.batch_tokens or BATCH_TOKENS[self.device]

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        texts = doc_texts(self.prepared.values(), set(chain.from_iterable(doc_ids)))
        pairs = [(query["text"], texts[doc_id]) for query, ids in zip(queries, doc_ids, strict=True) for doc_id in ids]
        scores = self.score_pairs(pairs)
        return [scores[start:end] for start, end in pairwise(np.cumsum([0, *map(len, doc_ids)]))]

    def score_pairs(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return the pairs' raw scores, float32, in their order; NaN for a pair too long for the model."""
        import numpy as np
        import torch

        parts = [pairs[start : start + _TOKENIZER_BATCH] for start in range(0, len(pairs), _TOKENIZER_BATCH)]
        rows = [row for part in parts for row in self.model.tokenize(part)]
        lengths = np.array([0 if row is None else len(row["input_ids"]) for row in rows], np.int64)
        scores = np.full(len(rows), np.nan, np.float32)
        autocast = torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")
        # One autocast for all batches: it caches the converted weights.
        with torch.inference_mode(), autocast:
            # Copy scores back after all batches are queued: waiting for each would leave a GPU idle.
            outputs = [
                (batch, self._forward([rows[row] for row in batch])) for batch in token_batches(lengths, self.budget)
            ]
        for batch, part in outputs:
            scores[batch] = part.float().cpu().numpy()
        return scores

    def _forward(self, rows: Sequence[Row | None]) -> torch.Tensor:
        readable = [row for row in rows if row is not None]
        return self.model.forward(
            {name: values.to(self.device) for name, values in _padded(readable, self.model).items()}
        )


def _padded(rows: Sequence[Row], model: Forward) -> dict[str, torch.Tensor]:
    import numpy as np
    import torch

    lengths = np.array([len(row["input_ids"]) for row in rows])
    columns = np.arange(lengths.max())
    mask = columns < lengths[:, None] if model.side == "right" else columns >= lengths.max() - lengths[:, None]
    batch = {"attention_mask": torch.from_numpy(mask.astype(np.int64))}
    for name in rows[0]:
        padded = np.full(mask.shape, model.padding[name], np.int64)
        padded[mask] = np.concatenate([row[name] for row in rows])
        batch[name] = torch.from_numpy(padded)
    return batch
