"""Settings of the stage ``search``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gradret.config.fields import at_least, require
from gradret.config.resources import Workers
from gradret.config.sizes import Precision, Size, parse_size
from gradret.errors import ConfigError

__all__ = ["Search"]


@dataclass(frozen=True)
class Search:
    """Retrieve documents for the test queries."""

    k: int = 1000
    """Documents per query."""
    parameters: str = ""
    """FAISS search parameters, such as ``nprobe=32`` or ``efSearch=128``; the defaults depend on the index. Changing
    them does not rebuild the index."""
    vectors: Precision = "float32"
    """How documents' vectors are stored and compared: ``int8`` takes a quarter of the bytes, ``binary`` a 32nd. Queries
    stay float32, and there is no FAISS index then. Decides the indexes of the report, not those that are mined."""
    dimensions: int = 0
    """Search with only the first dimensions of the vectors; 0 uses all. A model is made for it by
    ``train.dimensions``."""
    smaller: tuple[str, ...] = ()
    """Sizes of the tuned model's vectors to compare with the whole in the report, such as ``[256, int8, 128 int8, 64
    binary]``: the first dimensions, a precision of ``vectors``, or both. Nothing is encoded again."""
    hybrid: Literal["rrf", "weighted", "none"] = "rrf"
    """How the system ``hybrid`` fuses the rankings of the tuned model and BM25: by ranks, by scores, or not at all."""
    resources: Workers = Workers()
    """``actors`` hold the shards, at most one per shard; 0 uses one per core for exact search, one per node for other
    types, whose shards are merged in memory, and one per GPU."""

    def __post_init__(self) -> None:
        known = all(re.fullmatch(r"\w+=[\d.]+", part) for part in filter(None, self.parameters.split(",")))
        require(
            k=at_least(1, self.k),
            parameters="" if known else f"must have the form nprobe=32,efSearch=64, got {self.parameters!r}",
            dimensions=at_least(0, self.dimensions),
            smaller=self._smaller_problem(),
        )

    @property
    def size(self) -> Size:
        """The size of documents' vectors in the indexes of the report."""
        return Size(self.dimensions, self.vectors)

    @property
    def smaller_sizes(self) -> list[Size]:
        """``smaller``, each size once."""
        return list(dict.fromkeys(map(parse_size, self.smaller)))

    def _smaller_problem(self) -> str:
        try:
            for text in self.smaller:
                parse_size(text)
        except ConfigError as error:
            return str(error)
        return ""
