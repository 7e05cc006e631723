"""Read a dataset's documents into DOCS.

In: the dataset's files. Out: table ``docs``, quarantined rows with their reasons.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.datasets import Bad, Part, read_settings
from gradret.errors import DataError
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.contracts import GENERATED
from gradret.store.results import Quarantined, Result
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.datasets import Dataset, Row

__all__ = ["ingest", "known_docs", "read_part", "refuse_mostly_bad"]

_SHARDS_AT_ONCE = 64


def ingest(config: Config) -> Artifact:
    """DOCS of the dataset; ids are checked to be unique, empty or broken rows are quarantined.

    Raises:
        DataError: a file is missing or empty, an id occurs twice, or too many rows are bad.
    """
    settings = {
        "dataset": read_settings(config.dataset),
        "content": config.dataset.content("docs"),
        "ingest": config.ingest,
    }
    body = functools.partial(_ingest, config)
    return make("ingest", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)


def _ingest(config: Config, draft: Draft) -> None:
    dataset: Dataset = config.dataset
    parts = dataset.parts("docs")
    map_shards(draft, parts, functools.partial(_Reader, dataset, config.ingest.max_words))
    refuse_mostly_bad(draft, "docs", config.ingest.max_bad_share)
    if not draft.counts.get("rows_out"):
        raise DataError(f"{', '.join(dict.fromkeys(part.path for part in parts))}: holds no documents")
    _refuse_twice(draft, dataset, parts)


class _Reader:
    def __init__(self, dataset: Dataset, max_words: int) -> None:
        self.dataset, self.max_words = dataset, max_words

    def __call__(self, part: Part) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        placed, bad = read_part(self.dataset, "docs", part)
        reason = f"doc_id begins with {GENERATED}, which is for documents that an LLM writes"
        bad += [Quarantined(where, reason, row["doc_id"]) for where, row in placed if _is_reserved(row)]
        rows = [row for _, row in placed if not _is_reserved(row)]
        columns = {name: [row[name] for row in rows] for name in ("doc_id", "title", "text")}
        table = pa.table(columns | {"origin": ["corpus"] * len(rows)}, schema("docs"))
        long = sum(len(row["text"].split()) > self.max_words for row in rows)
        return Result({"docs": table}, len(rows) + len(bad), len(rows), bad, {"over_long": long})


def _is_reserved(row: Row) -> bool:
    doc_id: str = row["doc_id"]
    return doc_id.startswith(GENERATED)


def read_part(dataset: Dataset, table: str, part: Part) -> tuple[list[tuple[str, Row]], list[Quarantined]]:
    """Good rows of a part, each with its ``file:line``, and quarantined ones."""
    rows, bad = [], []
    for number, row in dataset.read(table, part):
        where = f"{part.path}:{number}"
        if isinstance(row, Bad):
            bad.append(Quarantined(where, row.reason, row.raw))
        else:
            rows.append((where, row))
    return rows, bad


def refuse_mostly_bad(draft: Draft, table: str, share: float) -> None:
    """Stop when a file is not what it was taken for.

    Raises:
        DataError: more than ``share`` of the rows were quarantined; names the first.
    """
    bad = draft.counts.get("quarantined", 0)
    if bad <= share * draft.counts.get("rows_in", 0):
        return
    first = read_shard(min((draft.path / "quarantine").glob("part-*.parquet")), "quarantine").to_pylist()[0]
    held = " ".join(first["raw"].split())[:120]
    raise DataError(
        f"{table}: {bad:,} of {draft.counts['rows_in']:,} rows cannot be used, more than "
        f"ingest.max_bad_share={share}; the first: {first['where']}: {first['reason']}: {held}"
    )


def known_docs(ingested: Artifact, doc_ids: pa.Array) -> pa.Array:
    """Those of ``doc_ids`` that DOCS holds; the corpus's own ids need not fit in memory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known: list[pa.Array] = []
    for paths in _batched(ingested.shards("docs"), _SHARDS_AT_ONCE):
        own = pa.chunked_array([read_shard(path, "docs", ["doc_id"])["doc_id"].combine_chunks() for path in paths])
        known += own.filter(pc.is_in(own, value_set=doc_ids)).chunks
    return pa.chunked_array(known, pa.string())


def _batched(paths: list[Path], size: int) -> Iterator[list[Path]]:
    return (paths[start : start + size] for start in range(0, len(paths), size))


def _refuse_twice(draft: Draft, dataset: Dataset, parts: list[Part]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    shards = sorted((draft.path / "docs").glob("part-*.parquet"))
    ids = pa.chunked_array([pq.read_table(path, columns=["doc_id"])["doc_id"].combine_chunks() for path in shards])
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = ids.value_counts()
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0].as_py()
    places = [where for part in parts for where, row in read_part(dataset, "docs", part)[0] if row["doc_id"] == twice]
    raise DataError(f"doc_id {twice!r} occurs {len(places)} times: {', '.join(places[:5])}; ids must be unique")
