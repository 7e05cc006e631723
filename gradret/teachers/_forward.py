"""Score pairs by a model's forward pass: what the teachers that read query and document together share.

Pairs are tokenised once, without padding, and sorted by their true number of tokens; batches are cut where
padded tokens would pass a budget. So next to nothing is padding, and a batch of short pairs is as much work
as one of long ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from gradret.config.fields import at_least, location, refuse
from gradret.models.inference import BATCH_TOKENS, token_batches
from gradret.teachers import Teacher
from gradret.texts import doc_texts
from gradret.work.session import cores

if TYPE_CHECKING:
    import numpy as np
    import torch

    from gradret.store.artifacts import Artifact

__all__ = ["Forward", "ForwardGrader", "ForwardResources", "ModelTeacher", "Pair", "Row"]

Pair = tuple[str, str]
"""Texts of a query and of a document."""

Row = dict[str, "np.ndarray"]
"""``input_ids`` of one pair, and what else the model is given for each of its tokens."""

_PAIRS_AT_ONCE = 512


@dataclass(frozen=True)
class ForwardResources:
    """How a model is run; decides speed only, and the last bits of a score."""

    threads: int = 0
    """CPU threads of a worker; 0 takes all cores of the machine."""
    batch_tokens: int = 0
    """Tokens of a batch, padding counted; 0 is 1,024 on a CPU and 65,536 on a GPU."""

    def __post_init__(self) -> None:
        refuse(**{name: at_least(0, getattr(self, name)) for name in ("threads", "batch_tokens")})


@dataclass(frozen=True)
class ModelTeacher(Teacher):
    """The fields of a teacher that runs a model of its own over pairs."""

    model: str = location()
    """A folder, ``package:NAME``, or a hub id."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16`` multiplies in it, by autocast; weights stay float32."""
    sha256: str = ""
    """What the weights must hash to; empty checks nothing."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Read it first."""
    resources: ForwardResources = ForwardResources()
    """How it is run."""

    reranks: ClassVar[bool] = True


class Forward(Protocol):
    """A loaded model that scores pairs."""

    padding: dict[str, int]
    """What fills up each part of a row."""
    side: Literal["left", "right"]
    """Where it goes."""

    def tokenize(self, pairs: Sequence[Pair]) -> list[Row | None]:
        """A row a pair, cut to what the model reads; None for one that cannot be cut so far."""

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Scores, ``(n,)``, of padded rows with their ``attention_mask``, ``(n, longest)`` each."""


class ForwardGrader:
    """A Grader by a ``Forward``.

    Args:
        load: makes the model on a device, ``cuda`` if Ray gave this process a GPU and ``cpu`` if not.
        prepared: has the DOCS.
        precision: ``bfloat16`` multiplies in it, by autocast.
        resources: how the model is run.
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
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model, self.prepared, self.precision = load(self.device), prepared, precision
        self.budget = resources.batch_tokens or BATCH_TOKENS[self.device]

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        texts = doc_texts(self.prepared.values(), set(chain.from_iterable(doc_ids)))
        pairs = [(query["text"], texts[each]) for query, ids in zip(queries, doc_ids, strict=True) for each in ids]
        scores = self.score_pairs(pairs)
        return [scores[start:end] for start, end in pairwise(np.cumsum([0, *map(len, doc_ids)]))]

    def score_pairs(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Raw scores of the pairs, float32, in their order; NaN for one that the model cannot read."""
        import numpy as np
        import torch

        parts = [pairs[start : start + _PAIRS_AT_ONCE] for start in range(0, len(pairs), _PAIRS_AT_ONCE)]
        rows = [row for part in parts for row in self.model.tokenize(part)]
        lengths = np.array([0 if row is None else len(row["input_ids"]) for row in rows], np.int64)
        scores = np.full(len(rows), np.nan, np.float32)
        half = torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")
        # One autocast for all batches: it keeps the weights that it has converted.
        with torch.inference_mode(), half:
            # Read back at the end: to wait for each batch would keep a GPU idle meanwhile.
            found = [
                (batch, self._forward([rows[row] for row in batch])) for batch in token_batches(lengths, self.budget)
            ]
        for batch, part in found:
            scores[batch] = part.float().cpu().numpy()
        return scores

    def _forward(self, rows: Sequence[Row | None]) -> torch.Tensor:
        whole = [row for row in rows if row is not None]
        return self.model.forward({name: values.to(self.device) for name, values in _padded(whole, self.model).items()})


def _padded(rows: Sequence[Row], model: Forward) -> dict[str, torch.Tensor]:
    import numpy as np
    import torch

    lengths = np.array([len(row["input_ids"]) for row in rows])
    places = np.arange(lengths.max())
    mask = places < lengths[:, None] if model.side == "right" else places >= lengths.max() - lengths[:, None]
    batch = {"attention_mask": torch.from_numpy(mask.astype(np.int64))}
    for name in rows[0]:
        whole = np.full(mask.shape, model.padding[name], np.int64)
        whole[mask] = np.concatenate([row[name] for row in rows])
        batch[name] = torch.from_numpy(whole)
    return batch
