"""Read a dataset's documents into DOCS; unusable rows are quarantined with a reason."""

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
from gradret.text import pieces
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.datasets import Dataset, Row

__all__ = ["ingest", "known_docs", "read_part", "refuse_mostly_bad"]

_SHARDS_AT_ONCE = 64


def ingest(config: Config) -> Artifact:
    """Read DOCS of the dataset; empty or broken rows are quarantined.

    Raises:
        DataError: a file is missing or empty, a doc_id is not unique, or more than ``ingest.max_bad_share`` of the
            rows are unusable.
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
        raise DataError(f"{', '.join(dict.fromkeys(part.path for part in parts))}: contains no documents")
    _require_unique_ids(draft, dataset, parts)


class _Reader:
    def __init__(self, dataset: Dataset, max_words: int) -> None:
        self.dataset, self.max_words = dataset, max_words

    def __call__(self, part: Part) -> Result:
        import pyarrow as pa

        from gradret.store.contracts import schema

        placed, bad = read_part(self.dataset, "docs", part)
        reason = f"doc_id begins with {GENERATED}, which is reserved for generated documents"
        bad += [Quarantined(where, reason, row["doc_id"]) for where, row in placed if _is_reserved(row)]
        rows = [row for _, row in placed if not _is_reserved(row)]
        columns = {name: [row[name] for row in rows] for name in ("doc_id", "title", "text")}
        table = pa.table(columns | {"origin": ["corpus"] * len(rows)}, schema("docs"))
        long = sum(len(pieces(row["text"])) > self.max_words for row in rows)
        return Result({"docs": table}, len(rows) + len(bad), len(rows), bad, {"over_long": long})


def _is_reserved(row: Row) -> bool:
    doc_id: str = row["doc_id"]
    return doc_id.startswith(GENERATED)


def read_part(dataset: Dataset, table: str, part: Part) -> tuple[list[tuple[str, Row]], list[Quarantined]]:
    """Read a part: good rows with their ``file:line``, and quarantined rows."""
    rows, bad = [], []
    for number, row in dataset.read(table, part):
        where = f"{part.path}:{number}"
        if isinstance(row, Bad):
            bad.append(Quarantined(where, row.reason, row.raw))
        else:
            rows.append((where, row))
    return rows, bad


def refuse_mostly_bad(draft: Draft, table: str, share: float) -> None:
    """Stop if too many rows are unusable: the file probably has another format.

    Raises:
        DataError: more than ``share`` of the rows were quarantined; quotes the first.
    """
    bad = draft.counts.get("quarantined", 0)
    if bad <= share * draft.counts.get("rows_in", 0):
        return
    first = read_shard(draft.parts("quarantine")[0], "quarantine").to_pylist()[0]
    raw = " ".join(first["raw"].split())[:120]
    raise DataError(
        f"{table}: {bad:,} of {draft.counts['rows_in']:,} rows cannot be used, more than "
        f"ingest.max_bad_share={share}; the first: {first['where']}: {first['reason']}: {raw}"
    )


def known_docs(ingested: Artifact, doc_ids: pa.Array) -> pa.Array:
    """Filter ``doc_ids`` to those in DOCS; the ids of the whole corpus need not fit in memory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known: list[pa.Array] = []
    for paths in _batched(ingested.shards("docs"), _SHARDS_AT_ONCE):
        ids = pa.chunked_array([read_shard(path, "docs", ["doc_id"])["doc_id"].combine_chunks() for path in paths])
        known += ids.filter(pc.is_in(ids, value_set=doc_ids)).chunks
    return pa.chunked_array(known, pa.string())


def _batched(paths: list[Path], size: int) -> Iterator[list[Path]]:
    return (paths[start : start + size] for start in range(0, len(paths), size))


def _require_unique_ids(draft: Draft, dataset: Dataset, parts: list[Part]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    shards = draft.parts("docs")
    ids = pa.chunked_array([read_shard(path, "docs", ["doc_id"])["doc_id"].combine_chunks() for path in shards])
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = ids.value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0].as_py()
    rows = (row for part in parts for row in read_part(dataset, "docs", part)[0])
    places = [where for where, row in rows if row["doc_id"] == repeated]
    raise DataError(f"doc_id {repeated!r} occurs {len(places)} times: {', '.join(places[:5])}; ids must be unique")
