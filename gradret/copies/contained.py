"""Copies among more texts than memory holds: of equal texts, and of texts that a neighbour in sorted order holds.

Rows are dealt to parts by ranges of their text, one file a shard with a row group a part; a part's rows are
sorted; and its windows look on into the next parts. So the driver holds no texts but the drawn ones that bound
the parts, a worker holds one part, and a killed run goes on. Ray Data's own sort was tried and left
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
from gradret.store.contracts import schema
from gradret.store.results import Result
from gradret.text import normalise, passage
from gradret.work.shards import Pool, run_step

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["contained", "duplicates", "unique_rows", "without_copies"]

_CUT = 2048
_PART_BYTES = 64 << 20
_DRAWN_A_PART = 100
_ROWS_A_GROUP = 10_000


@dataclass(frozen=True)
class Rule:
    """Which documents are compared, and as what."""

    min_chars: int
    """Documents whose normalised text is shorter are left out."""
    window: int
    """Neighbours that a text is looked for in; 0 finds equal texts alone."""
    normalise: Callable[[str], str] = normalise
    """What of a text is compared."""
    among: pa.Array | None = None
    """The doc_ids to compare; None compares all."""

    def rows(self, docs: pa.Table) -> pa.Table:
        """The rows of DOCS to compare."""
        import pyarrow.compute as pc

        return docs if self.among is None else docs.filter(pc.is_in(docs["doc_id"], value_set=self.among))

    def texts(self, docs: pa.Table) -> Iterator[str]:
        """What is compared of each document."""
        for title, text in zip(docs["title"].to_pylist(), docs["text"].to_pylist(), strict=True):
            yield self.normalise(passage(title, text))


def without_copies(draft: Draft, docs: Sequence[Path], rule: Rule, pool: Pool) -> list[Path]:
    """Files of ``doc_id`` and normalised ``text`` of the documents that are no copies.

    Leaves DUPLICATES in steps under ``work/``, a document that is long enough but a copy a row, with
    the document that holds it, which may be a copy itself. Counts ``rows_in`` and ``too_short``.

    Args:
        draft: of the stage.
        docs: shards of DOCS.
        rule: which documents are compared, and as what.
        pool: who works.
    """
    forwards, backwards = _bounds(draft, docs, rule, pool)
    work = draft.path / "work"
    counts = run_step(draft, "deal", docs, functools.partial(_Dealer, rule, forwards, work / "dealt"), pool).counts
    draft.count(rows_in=counts["rows_in"], too_short=counts["too_short"])
    files = [work / "dealt" / path.name for path in docs]
    for name, bounds, next_bounds in (("forwards", forwards, backwards), ("backwards", backwards, [])):
        ordered, left = work / f"{name}_sorted", work / f"{name}_left"
        numbers = range(len(bounds) + 1)
        run_step(draft, f"{name}_sort", numbers, functools.partial(_Sorter, files, ordered), pool)
        # What the next step was made from is not needed again, and a corpus may be large.
        shutil.rmtree(files[0].parent, ignore_errors=True)
        parts = [_place(ordered, number) for number in numbers]
        load = functools.partial(_Windows, parts, rule.window, next_bounds, left)
        run_step(draft, f"{name}_windows", numbers, load, pool)
        shutil.rmtree(ordered, ignore_errors=True)
        files = [_place(left, number) for number in numbers]
    return files


def contained(texts: Sequence[str], following: Sequence[str], window: int) -> Iterator[tuple[int, int]]:
    """Places of each text that one of its next ``window`` neighbours contains, and of the first such neighbour.

    The first 2,048 characters are looked for in the neighbour's, then the whole in the whole: a common
    beginning makes no copy of a long text.

    Args:
        texts: sorted, all different.
        following: texts that come next in the order; neighbours only. Their places go on from those of ``texts``.
        window: neighbours that are looked at.
    """
    whole = [*texts, *following]
    cut = [text[:_CUT] for text in whole]
    for place in range(len(texts)):
        for other in range(place + 1, min(place + 1 + window, len(whole))):
            if cut[place] in cut[other] and whole[place] in whole[other]:
                yield place, other
                break


def unique_rows(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows sorted by text, of equal texts the one with the smallest doc_id; and DUPLICATES, the others."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = rows.sort_by([("text", "ascending"), ("doc_id", "ascending")]).combine_chunks()
    text, places = rows["text"], np.arange(rows.num_rows)
    first = np.ones(rows.num_rows, bool)
    first[1:] = pc.not_equal(text.slice(1), text.slice(0, max(0, len(text) - 1))).to_numpy()
    kept = np.maximum.accumulate(np.where(first, places, 0))
    ids = rows["doc_id"]
    return rows.filter(pa.array(first)), duplicates(ids.take(places[~first]), ids.take(kept[~first]), "equal")


def _bounds(draft: Draft, docs: Sequence[Path], rule: Rule, pool: Pool) -> tuple[list[str], list[str]]:
    """Where parts begin, the first apart, in the order of texts and in that of reversed texts."""
    import pyarrow.parquet as pq

    sizes = [_size(path) for path in docs]
    parts = -(-sum(size for _, size in sizes) // _PART_BYTES)
    if parts <= 1:
        return [], []
    step = max(1, sum(rows for rows, _ in sizes) // (parts * _DRAWN_A_PART))
    folder = draft.path / "work" / "drawn"
    run_step(draft, "draw", docs, functools.partial(_Drawer, rule, step, folder), pool)
    drawn = [text for path in docs for text in pq.read_table(folder / path.name)["text"].to_pylist()]
    return _quantiles(drawn, parts), _quantiles([text[::-1] for text in drawn], parts)


def _size(path: Path) -> tuple[int, int]:
    """Rows, and bytes in memory, of a Parquet file."""
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    return about.num_rows, sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))


def _quantiles(drawn: list[str], parts: int) -> list[str]:
    drawn.sort()
    return sorted({drawn[len(drawn) * number // parts] for number in range(1, parts)}) if drawn else []


class _Drawer:
    """Some texts of a shard. Which ones decides how evenly parts are filled, and nothing else."""

    def __init__(self, rule: Rule, step: int, folder: Path) -> None:
        self.rule, self.step, self.folder = rule, step, folder

    def __call__(self, path: Path) -> Result:
        docs = read_shard(path, "docs")
        some = self.rule.rows(docs.take(list(range(0, docs.num_rows, self.step))))
        _write(self.folder / path.name, [_rows(some["doc_id"].to_pylist(), self.rule.texts(some))])
        return Result({}, docs.num_rows, docs.num_rows)


class _Dealer:
    """Normalised documents of a shard, those that are long enough, dealt to parts."""

    def __init__(self, rule: Rule, bounds: list[str], folder: Path) -> None:
        self.rule, self.bounds, self.folder = rule, bounds, folder

    def __call__(self, path: Path) -> Result:
        docs = self.rule.rows(read_shard(path, "docs"))
        pairs = zip(self.rule.texts(docs), docs["doc_id"].to_pylist(), strict=True)
        rows = [(text, doc_id) for text, doc_id in pairs if len(text) >= self.rule.min_chars]
        _deal(self.folder / path.name, rows, self.bounds)
        return Result({}, docs.num_rows, docs.num_rows, counts={"too_short": docs.num_rows - len(rows)})


class _Sorter:
    """A part: its rows from every file, sorted, different texts only."""

    def __init__(self, files: list[Path], folder: Path) -> None:
        self.files, self.folder = files, folder

    def __call__(self, number: int) -> Result:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = pa.concat_tables(pq.ParquetFile(path).read_row_group(number) for path in self.files)
        kept, copies = unique_rows(rows)
        # Small row groups: the part before this one reads only the first rows.
        groups = (kept.slice(start, _ROWS_A_GROUP) for start in range(0, kept.num_rows, _ROWS_A_GROUP))
        _write(_place(self.folder, number), groups)
        return Result({"duplicates": copies}, rows.num_rows, rows.num_rows)


class _Windows:
    """Texts of a part that no neighbour contains, reversed and dealt for what comes next."""

    def __init__(self, parts: list[Path], window: int, bounds: list[str], folder: Path) -> None:
        self.parts, self.window, self.bounds, self.folder = parts, window, bounds, folder

    def __call__(self, number: int) -> Result:
        import pyarrow.parquet as pq

        rows = pq.read_table(self.parts[number]).to_pydict()
        following = list(itertools.islice(self._following(number), self.window))
        texts, ids = rows["text"], rows["doc_id"] + [doc_id for doc_id, _ in following]
        found = dict(contained(texts, [text for _, text in following], self.window))
        left = [(texts[place][::-1], ids[place]) for place in range(len(texts)) if place not in found]
        _deal(_place(self.folder, number), left, self.bounds)
        copies = duplicates([ids[one] for one in found], [ids[other] for other in found.values()], "contained")
        return Result({"duplicates": copies}, len(texts), len(texts))

    def _following(self, number: int) -> Iterator[tuple[str, str]]:
        """Rows after a part, from as many parts as it takes."""
        import pyarrow.parquet as pq

        for path in self.parts[number + 1 :]:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=self.window):
                yield from zip(batch["doc_id"].to_pylist(), batch["text"].to_pylist(), strict=True)


def _deal(path: Path, rows: list[tuple[str, str]], bounds: list[str]) -> None:
    """Write rows of text and doc_id, a row group between each two of ``bounds``, which are sorted."""
    rows.sort()
    cuts = [0, *(bisect_left(rows, (bound,)) for bound in bounds), len(rows)]
    parts = (rows[start:end] for start, end in itertools.pairwise(cuts))
    _write(path, (_rows([doc_id for _, doc_id in part], (text for text, _ in part)) for part in parts))


def _rows(ids: list[str], texts: Iterator[str]) -> pa.Table:
    import pyarrow as pa

    # Large: a part of very long texts may hold more than the 2 GiB that a column of short ones can.
    return pa.table({"doc_id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.large_string())})


def _write(path: Path, groups: Iterable[pa.Table]) -> None:
    """Write a file of these row groups, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    columns = pa.schema([("doc_id", pa.string()), ("text", pa.large_string())])
    with atomic(path) as draft, pq.ParquetWriter(draft, columns, use_dictionary=False) as file:
        for group in groups:
            file.write_table(group, row_group_size=max(1, group.num_rows))


def _place(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"


def duplicates(ids: Any, kept: Any, reason: str) -> pa.Table:
    """DUPLICATES of one reason; ids as lists or as Arrow has them."""
    import pyarrow as pa

    return pa.table({"doc_id": ids, "kept_doc_id": kept, "reason": [reason] * len(ids)}, schema("duplicates"))
