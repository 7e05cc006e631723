"""Look up documents by their ids, without reading the corpus for each query."""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from gradret.store.artifacts import Artifact

__all__ = ["Documents"]

_COLUMNS = ["doc_id", "title", "text"]
_ROWS = 1024
"""Rows of a batch, which is what a look-up maps into memory."""


class Documents:
    """Titles and texts of DOCS.

    They lie uncompressed in a temporary file that is mapped into memory, so the kernel holds what is asked for and
    drops it when memory is short. The file has no name: it goes when this process ends. Memory holds 8 bytes a
    document.
    """

    def __init__(self, ingested: Artifact) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        with tempfile.NamedTemporaryFile(prefix="gradret-docs-") as file:
            _write(file.name, ingested)
            reader = pa.ipc.open_file(pa.memory_map(file.name))
        self.batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self.ends = np.cumsum([batch.num_rows for batch in self.batches]).tolist()
        ids = pa.chunked_array([batch["doc_id"] for batch in self.batches], pa.string())
        self.order = pc.sort_indices(ids).to_numpy()

    def __len__(self) -> int:
        return len(self.order)

    def get(self, doc_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return ``doc_id``, ``title`` and ``text`` of each of ``doc_ids``, all of which are in the corpus."""
        found = {}
        for doc_id in doc_ids:
            # Arrow sorts by bytes of UTF-8, which is the order of code points, as Python's.
            place = bisect_left(self.order, doc_id, key=lambda row: self._cell(int(row), "doc_id"))
            row = int(self.order[place])
            found[doc_id] = {name: self._cell(row, name) or "" for name in _COLUMNS}
        return found

    def _cell(self, row: int, column: str) -> str:
        number = bisect_left(self.ends, row + 1)
        batch = self.batches[number]
        value: str = batch[column][row - self.ends[number] + batch.num_rows].as_py()
        return value


def _write(path: str, ingested: Artifact) -> None:
    import pyarrow as pa

    schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as file:
        for table in ingested.batches("docs"):
            file.write_table(table.select(_COLUMNS).cast(schema), max_chunksize=_ROWS)
