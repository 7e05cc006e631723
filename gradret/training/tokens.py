"""Token ids of many texts, and the doc_ids of their rows, memory-mapped: every text is tokenized once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["Tokenize", "Tokens", "join_tokens", "read_ids", "write_ids", "write_tokens"]

_IDS = "doc_ids.arrow"


class Tokenize(Protocol):
    """Tokenize texts, or pairs of texts, into arrays of token ids, one per text."""

    def __call__(self, texts: list[Any], table: Literal["docs", "queries"]) -> list[np.ndarray]: ...


def write_tokens(folder: Path, texts: list[Any], tokenize: Tokenize, table: Literal["docs", "queries"]) -> None:
    """Tokenize ``texts`` of kind ``table`` into ``folder``; row n of ``Tokens(folder)`` is text n."""
    import numpy as np

    rows = tokenize(texts, table)
    bounds = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "spans.npy", np.stack([bounds[:-1], bounds[1:]], axis=1))
    np.save(folder / "ids.npy", np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, np.int32))


def join_tokens(folder: Path, parts: Sequence[Path], rows: np.ndarray) -> None:
    """Join the tokens in the folders ``parts`` into ``folder``, one part in memory at a time.

    Args:
        folder: the folder to write.
        parts: folders of tokens; at least one.
        rows: for each text of the parts, in their order, its row in ``folder``: a permutation.
    """
    import numpy as np

    sizes = [len(Tokens(part).ids) for part in parts]
    starts = np.cumsum([0, *sizes], dtype=np.int64)
    spans = [np.asarray(Tokens(part).spans) + start for part, start in zip(parts, starts, strict=False)]
    joined = np.empty((len(rows), 2), np.int64)
    joined[rows] = np.concatenate(spans)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "spans.npy", joined)
    with (folder / "ids.npy").open("wb") as file:
        header = {"descr": "<i4", "fortran_order": False, "shape": (int(starts[-1]),)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.load(part / "ids.npy").tobytes())


class Tokens:
    """Rows of token ids, read from disk on demand."""

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self.spans: np.ndarray = np.load(folder / "spans.npy", mmap_mode="r")
        """``(rows, 2)``: where each row's ids begin and end."""
        self.ids: np.ndarray = np.load(folder / "ids.npy", mmap_mode="r")

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of tokens of each row."""
        lengths: np.ndarray = self.spans[rows, 1] - self.spans[rows, 0]
        return lengths

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the concatenated ids of ``rows``, and the offsets of each row, ``(len(rows) + 1,)``."""
        import numpy as np

        lengths = self.lengths(rows)
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        offsets = np.repeat(self.spans[rows, 0] - starts[:-1], lengths)
        return self.ids[np.arange(starts[-1]) + offsets], starts


def write_ids(folder: Path, doc_ids: pa.Array) -> None:
    """Write the doc_ids of the rows of documents into ``folder``."""
    import pyarrow as pa

    table = pa.table({"doc_id": doc_ids})
    folder.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(folder / _IDS), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)


def read_ids(folder: Path) -> pa.Array:
    """Return the doc_ids that ``write_ids`` wrote."""
    import pyarrow as pa

    ids: pa.Array = pa.ipc.open_file(pa.memory_map(str(folder / _IDS))).read_all()["doc_id"].combine_chunks()
    return ids
