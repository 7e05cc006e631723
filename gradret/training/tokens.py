"""Token ids of many texts, memory-mapped: every text is tokenized once and read by row number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Tokenize", "Tokens", "write_tokens"]


class Tokenize(Protocol):
    """Tokenize texts into arrays of token ids, one per text."""

    def __call__(self, texts: list[str], table: Literal["docs", "queries"]) -> list[np.ndarray]: ...


def write_tokens(folder: Path, texts: list[str], tokenize: Tokenize, table: Literal["docs", "queries"]) -> None:
    """Tokenize ``texts`` of kind ``table`` into ``folder``; row n of ``Tokens(folder)`` is text n."""
    import numpy as np

    rows = tokenize(texts, table)
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "starts.npy", starts)
    np.save(folder / "ids.npy", np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, np.int32))


class Tokens:
    """Rows of token ids, read from disk on demand."""

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self.starts = np.load(folder / "starts.npy", mmap_mode="r")
        self.ids = np.load(folder / "ids.npy", mmap_mode="r")

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of tokens of each row."""
        lengths: np.ndarray = self.starts[rows + 1] - self.starts[rows]
        return lengths

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the concatenated ids of ``rows``, and the offsets of each row, ``(len(rows) + 1,)``."""
        import numpy as np

        lengths = self.lengths(rows)
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        offsets = np.repeat(self.starts[rows] - starts[:-1], lengths)
        return self.ids[np.arange(starts[-1]) + offsets], starts
