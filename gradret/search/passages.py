"""All passages of a corpus, uncompressed and memory-mapped, so that looking a few up does not read the others.

The shards of DOCS are compressed: looked up in these, every shard of pairs would read the whole corpus.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.atomic import atomic
from gradret.store.results import Result
from gradret.text import passage
from gradret.texts import PASSAGES
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["passages"]


def passages(config: Config, ingested: Artifact) -> Artifact:
    """Write the passages of DOCS for ``gradret.texts.doc_texts``."""
    body = functools.partial(_passages, ingested)
    inputs = {"docs": ingested}
    return make(PASSAGES, config.storage_path, module=__name__, settings={}, inputs=inputs, body=body)


def _passages(ingested: Artifact, draft: Draft) -> None:
    folder = draft.path / PASSAGES
    folder.mkdir(exist_ok=True)
    items = [(path, folder / f"{number:05d}.arrow") for number, path in enumerate(ingested.shards("docs"))]
    map_shards(draft, items, lambda: _write, unit="docs", total=ingested.counts.get("rows_out"))


def _write(item: tuple[Path, Path]) -> Result:
    import pyarrow as pa

    source, target = item
    rows = read_shard(source, "docs", ["doc_id", "title", "text"])
    columns = rows["title"].to_pylist(), rows["text"].to_pylist()
    texts = [passage(*row) for row in zip(*columns, strict=True)]
    table = pa.table({"doc_id": rows["doc_id"], "text": pa.array(texts, pa.string())})
    with atomic(target) as draft, pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)
    return Result({}, rows.num_rows, rows.num_rows)
