"""Find copies among more texts than fit in memory: equal texts, and texts contained in a neighbour in sorted order.

Rows are partitioned by ranges of their text, into one file per shard with one row group per partition. Each partition
is sorted, and its last windows extend into the next partitions. So the driver holds only the sampled texts that bound
the partitions, a worker holds one partition, and a killed run can resume. Ray Data's sort was tried and rejected
(docs/log.md).
"""

from __future__ import annotations

import functools
import itertools
import shutil
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.store.artifacts import Draft, read_shard
from gradret.store.atomic import atomic
from gradret.store.checksums import check
from gradret.store.contracts import schema
from gradret.store.mirror import fetched
from gradret.store.results import Result
from gradret.text import normalise, passage
from gradret.work.shards import run_step

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.resources import Workers

__all__ = ["contained", "duplicates", "unique_rows", "without_copies"]

_PREFIX_CHARS = 2048
_PARTITION_BYTES = 64 << 20
_SAMPLES_PER_PARTITION = 100
_ROWS_PER_GROUP = 10_000


@dataclass(frozen=True)
class Rule:
    """Which documents are compared, and in what form."""

    min_chars: int
    """Documents whose normalised text is shorter are skipped."""
    window: int
    """Number of neighbours in which a text is searched for; 0 finds only equal texts."""
    normalise: Callable[[str], str] = normalise
    """Maps a text to the form that is compared."""
    among: pa.Array | None = None
    """The doc_ids to compare; None compares all."""

    def rows(self, docs: pa.Table) -> pa.Table:
        """Return the rows of DOCS to compare."""
        import pyarrow.compute as pc

        return docs if self.among is None else docs.filter(pc.is_in(docs["doc_id"], value_set=self.among))

    def texts(self, docs: pa.Table) -> Iterator[str]:
        """Yield the compared form of each document."""
        for title, text in zip(docs["title"].to_pylist(), docs["text"].to_pylist(), strict=True):
            yield self.normalise(passage(title, text))


def without_copies(draft: Draft, docs: Sequence[Path], rule: Rule, workers: Workers) -> list[Path]:
    """Return files of ``doc_id`` and normalised ``text`` of the documents that are not copies.

    Leaves DUPLICATES in steps under ``work/``: one row per copy that is long enough, with the document that
    contains it, which may be a copy itself. Counts ``rows_in`` and ``too_short``.

    Args:
        draft: the stage's draft.
        docs: shards of DOCS.
        rule: which documents are compared, and in what form.
        workers: number of workers, and what each takes.
    """
    forwards, backwards = _bounds(draft, docs, rule, workers)
    work = draft.path / "work"
    counts = run_step(
        draft, "partition", docs, functools.partial(_Partitioner, rule, forwards, work / "partitioned"), workers
    ).counts
    draft.count(rows_in=counts["rows_in"], too_short=counts["too_short"])
    files = [work / "partitioned" / path.name for path in docs]
    for name, bounds, next_bounds in (("forwards", forwards, backwards), ("backwards", backwards, [])):
        ordered, kept = work / f"{name}_sorted", work / f"{name}_kept"
        numbers = range(len(bounds) + 1)
        run_step(draft, f"{name}_sort", numbers, functools.partial(_Sorter, files, ordered), workers)
        # Inputs of a finished step are deleted, because a corpus may be large.
        shutil.rmtree(files[0].parent, ignore_errors=True)
        parts = [_partition_path(ordered, number) for number in numbers]
        load = functools.partial(_Windows, parts, rule.window, next_bounds, kept)
        run_step(draft, f"{name}_windows", numbers, load, workers)
        shutil.rmtree(ordered, ignore_errors=True)
        files = [_partition_path(kept, number) for number in numbers]
    return files


def contained(texts: Sequence[str], following: Sequence[str], window: int) -> Iterator[tuple[int, int]]:
    """Yield the index of each text that one of its next ``window`` neighbours contains, and the first such neighbour's.

    The first 2,048 characters are searched for in the neighbour's, then the whole text in the whole neighbour:
    a long text is not a copy because its beginning is.

    Args:
        texts: sorted, all different.
        following: texts that come next in the order, only used as neighbours. Their indices follow those of ``texts``.
        window: number of neighbours to search.
    """
    whole = [*texts, *following]
    prefixes = [text[:_PREFIX_CHARS] for text in whole]
    for index in range(len(texts)):
        for other in range(index + 1, min(index + 1 + window, len(whole))):
            if prefixes[index] in prefixes[other] and whole[index] in whole[other]:
                yield index, other
                break


def unique_rows(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the rows sorted by text, keeping the smallest doc_id of equal texts; and the others as DUPLICATES."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = rows.sort_by([("text", "ascending"), ("doc_id", "ascending")]).combine_chunks()
    text, indices = rows["text"], np.arange(rows.num_rows)
    first = np.ones(rows.num_rows, bool)
    first[1:] = pc.not_equal(text.slice(1), text.slice(0, max(0, len(text) - 1))).to_numpy()
    kept = np.maximum.accumulate(np.where(first, indices, 0))
    ids = rows["doc_id"]
    return rows.filter(pa.array(first)), duplicates(ids.take(indices[~first]), ids.take(kept[~first]), "equal")


def _bounds(draft: Draft, docs: Sequence[Path], rule: Rule, workers: Workers) -> tuple[list[str], list[str]]:
    """Return where partitions begin, except the first: in the order of texts, and of reversed texts."""
    import pyarrow.parquet as pq

    sizes = [_size(path) for path in docs]
    parts = -(-sum(size for _, size in sizes) // _PARTITION_BYTES)
    if parts <= 1:
        return [], []
    step = max(1, sum(rows for rows, _ in sizes) // (parts * _SAMPLES_PER_PARTITION))
    folder = draft.path / "work" / "sampled"
    run_step(draft, "sample", docs, functools.partial(_Sampler, rule, step, folder), workers)
    sample = [text for path in docs for text in pq.read_table(fetched(folder / path.name))["text"].to_pylist()]
    return _quantiles(sample, parts), _quantiles([text[::-1] for text in sample], parts)


def _size(path: Path) -> tuple[int, int]:
    """Return the number of rows, and of bytes in memory, of a Parquet file."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(check(path))
    sizes = (metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    return metadata.num_rows, sum(sizes)


def _quantiles(sample: list[str], parts: int) -> list[str]:
    sample.sort()
    return sorted({sample[len(sample) * number // parts] for number in range(1, parts)}) if sample else []


class _Sampler:
    """Samples texts of a shard. The sample only affects how evenly the partitions are filled."""

    def __init__(self, rule: Rule, step: int, folder: Path) -> None:
        self.rule, self.step, self.folder = rule, step, folder

    def __call__(self, path: Path) -> Result:
        docs = read_shard(path, "docs")
        sample = self.rule.rows(docs.take(list(range(0, docs.num_rows, self.step))))
        _write(self.folder / path.name, [_rows(sample["doc_id"].to_pylist(), self.rule.texts(sample))])
        return Result({}, docs.num_rows, docs.num_rows)


class _Partitioner:
    """Partitions a shard's normalised documents that are long enough."""

    def __init__(self, rule: Rule, bounds: list[str], folder: Path) -> None:
        self.rule, self.bounds, self.folder = rule, bounds, folder

    def __call__(self, path: Path) -> Result:
        docs = self.rule.rows(read_shard(path, "docs"))
        pairs = zip(self.rule.texts(docs), docs["doc_id"].to_pylist(), strict=True)
        rows = [(text, doc_id) for text, doc_id in pairs if len(text) >= self.rule.min_chars]
        _write_partitioned(self.folder / path.name, rows, self.bounds)
        return Result({}, docs.num_rows, docs.num_rows, counts={"too_short": docs.num_rows - len(rows)})


class _Sorter:
    """Sorts a partition's rows from every file, and drops equal texts."""

    def __init__(self, files: list[Path], folder: Path) -> None:
        self.files, self.folder = files, folder

    def __call__(self, number: int) -> Result:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = pa.concat_tables(pq.ParquetFile(fetched(path)).read_row_group(number) for path in self.files)
        kept, copies = unique_rows(rows)
        # Small row groups: the previous partition reads only the first rows.
        groups = (kept.slice(start, _ROWS_PER_GROUP) for start in range(0, kept.num_rows, _ROWS_PER_GROUP))
        _write(_partition_path(self.folder, number), groups)
        return Result({"duplicates": copies}, rows.num_rows, rows.num_rows)


class _Windows:
    """Keeps a partition's texts that no neighbour contains, and partitions them, reversed, for the next pass."""

    def __init__(self, parts: list[Path], window: int, bounds: list[str], folder: Path) -> None:
        self.parts, self.window, self.bounds, self.folder = parts, window, bounds, folder

    def __call__(self, number: int) -> Result:
        import pyarrow.parquet as pq

        rows = pq.read_table(fetched(self.parts[number])).to_pydict()
        following = list(itertools.islice(self._following(number), self.window))
        texts, ids = rows["text"], rows["doc_id"] + [doc_id for doc_id, _ in following]
        containing = dict(contained(texts, [text for _, text in following], self.window))
        kept = [(texts[index][::-1], ids[index]) for index in range(len(texts)) if index not in containing]
        _write_partitioned(_partition_path(self.folder, number), kept, self.bounds)
        copies = duplicates(
            [ids[index] for index in containing], [ids[other] for other in containing.values()], "contained"
        )
        return Result({"duplicates": copies}, len(texts), len(texts))

    def _following(self, number: int) -> Iterator[tuple[str, str]]:
        """Yield the rows that follow a partition, from as many partitions as needed."""
        import pyarrow.parquet as pq

        for path in self.parts[number + 1 :]:
            for batch in pq.ParquetFile(fetched(path)).iter_batches(batch_size=self.window):
                yield from zip(batch["doc_id"].to_pylist(), batch["text"].to_pylist(), strict=True)


def _write_partitioned(path: Path, rows: list[tuple[str, str]], bounds: list[str]) -> None:
    """Write rows of text and doc_id, one row group per partition; ``bounds`` are sorted."""
    rows.sort()
    cuts = [0, *(bisect_left(rows, (bound,)) for bound in bounds), len(rows)]
    parts = (rows[start:end] for start, end in itertools.pairwise(cuts))
    _write(path, (_rows([doc_id for _, doc_id in part], (text for text, _ in part)) for part in parts))


def _rows(ids: list[str], texts: Iterator[str]) -> pa.Table:
    import pyarrow as pa

    # Large strings: with very long texts, a partition may exceed the 2 GiB limit of a string column.
    return pa.table({"doc_id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.large_string())})


def _write(path: Path, groups: Iterable[pa.Table]) -> None:
    """Write a file of these row groups atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    columns = pa.schema([("doc_id", pa.string()), ("text", pa.large_string())])
    with atomic(path) as draft, pq.ParquetWriter(draft, columns, use_dictionary=False) as file:
        for group in groups:
            file.write_table(group, row_group_size=max(1, group.num_rows))


def _partition_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"


def duplicates(ids: Any, kept: Any, reason: str) -> pa.Table:
    """Return DUPLICATES with one reason; ids are lists or Arrow arrays."""
    import pyarrow as pa

    return pa.table({"doc_id": ids, "kept_doc_id": kept, "reason": [reason] * len(ids)}, schema("duplicates"))
