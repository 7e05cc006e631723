"""Read labels from a file."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.compressed import lines, plain_name
from gradret.config.fields import location
from gradret.errors import ConfigError, DataError
from gradret.judgments import id_problem, read_values
from gradret.pairs import pair_id
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.fingerprint import hash_files
from gradret.teachers import Teacher

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["File", "Label", "LabelGrader", "label_table"]

_ROWS_A_SHARD = 250_000
_SHOWN = 5
_COLUMNS = ["query_id", "doc_id", "score"]
_LARGEST = 3.4028234663852886e38  # of float32
# Arrow types.
_IDS = re.compile(r"(large_)?string(_view)?|u?int\d+")
_NUMBERS = re.compile(r"u?int\d+|halffloat|float|double|decimal\d+\(.*\)")

Label = tuple[int, str, str, float]
"""Row or line, query_id, doc_id, score."""


@dataclass(frozen=True)
class File(Teacher):
    """The scores in a file, unchanged.

    ``.parquet`` and ``.jsonl`` files have the columns query_id, doc_id and score. Any other file is read as
    text in one of two formats: BEIR's, tab-separated ``query_id doc_id score`` under a header, or TREC's,
    ``query_id iteration doc_id score``.

    A pair that is not in the file is quarantined. Rows of the file that match no pair are counted in the
    notes as ``unknown_pairs``, with the first few.
    """

    path: str = location()
    """Path of the file, whose content enters the fingerprint."""
    positive_above: float | None = None
    """Documents that score above this are further positives of the query; null adds none."""

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Store the file's rows as LABELS.

        Raises:
            ConfigError: the file cannot be read.
            DataError: a row is malformed, or two rows label the same pair.
        """
        path = Path(self.path).absolute()
        try:
            content = hash_files([path])
        except OSError as error:
            raise ConfigError(f"label.teacher.path: cannot read {path}: {error.strerror}") from None
        body = functools.partial(_write, path)
        settings = {"content": content, "format": path.suffixes}
        return {
            "file": make("labels_file", config.storage_path, module=__name__, settings=settings, inputs={}, body=body)
        }

    def load(self, prepared: dict[str, Artifact]) -> LabelGrader:
        return LabelGrader(prepared["file"])

    def unknown_pairs(self, prepared: dict[str, Artifact], mined: Artifact) -> tuple[int, list[str]]:
        """Return how many rows of the file match no pair of ``mined``, and the first few as ``QUERY_ID DOC_ID``."""
        import pyarrow as pa
        import pyarrow.compute as pc

        parts = [read_shard(path, "pairs", ["pair_id"])["pair_id"] for path in mined.shards("pairs")]
        pairs = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
        count, shown = 0, list[str]()
        for rows in prepared["file"].batches("labels"):
            unknown = rows.filter(pc.invert(pc.is_in(rows["pair_id"], value_set=pairs)))
            count += unknown.num_rows
            few = unknown.slice(0, _SHOWN - len(shown))
            shown += [f"{row['query_id']} {row['doc_id']}" for row in few.to_pylist()]
        return count, shown


class LabelGrader:
    """Looks up scores in an artifact with LABELS."""

    def __init__(self, file: Artifact) -> None:
        self.file = file

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        pair_ids = [
            [pair_id(query["query_id"], doc_id) for doc_id in listed]
            for query, listed in zip(queries, doc_ids, strict=True)
        ]
        wanted = pa.array(list(chain.from_iterable(pair_ids)), pa.string())
        scores = dict[str, float]()
        for path in self.file.shards("labels"):
            rows = read_shard(path, "labels", ["pair_id", "score"])
            rows = rows.filter(pc.is_in(rows["pair_id"], value_set=wanted))
            scores |= dict(zip(rows["pair_id"].to_pylist(), rows["score"].to_pylist(), strict=True))
        return [np.array([scores.get(each, np.nan) for each in ids], np.float32) for ids in pair_ids]


def _write(path: Path, draft: Draft) -> None:
    import pyarrow as pa

    labels = _READERS.get(plain_name(path).suffix, _text)(path)
    parts = [label_table(part) for part in iter(lambda: list(islice(labels, _ROWS_A_SHARD)), [])]
    if not parts:
        raise DataError(f"{path}: no labels in the file; expected rows of query_id, doc_id and score")
    _refuse_duplicates(path, pa.concat_tables(parts))
    for number, rows in enumerate(parts):
        draft.write("labels", rows.drop_columns("where"), number)
        draft.count(rows_out=rows.num_rows)


def label_table(part: Sequence[Label], source: str = "file") -> pa.Table:
    """Return LABELS of these rows, with the column ``where``."""
    import pyarrow as pa

    where, query_ids, doc_ids, scores = zip(*part, strict=True)
    columns = {
        "pair_id": [pair_id(query_id, doc_id) for query_id, doc_id in zip(query_ids, doc_ids, strict=True)],
        "query_id": query_ids,
        "doc_id": doc_ids,
        "source": [source] * len(part),
        "score": pa.array(scores, pa.float64()),
        "where": where,
    }
    return pa.table(columns)


def _refuse_duplicates(path: Path, labels: pa.Table) -> None:
    import pyarrow.compute as pc

    counted = labels.group_by("pair_id").aggregate([("where", "count"), ("where", "min")])
    duplicates = counted.filter(pc.greater(counted["where_count"], 1)).sort_by("where_min")
    if not duplicates.num_rows:
        return
    first, second = labels.filter(pc.equal(labels["pair_id"], duplicates["pair_id"][0])).slice(0, 2).to_pylist()
    raise DataError(
        f"{path}: {_unit(path)}s {first['where']} and {second['where']} both label query {first['query_id']!r}, "
        f"document {first['doc_id']!r}, with {first['score']:g} and {second['score']:g}; keep one "
        f"({duplicates.num_rows:,} pairs have more than one label)"
    )


def _unit(path: Path) -> str:
    return "row" if path.suffix == ".parquet" else "line"


def _text(path: Path) -> Iterator[Label]:
    return (_checked(label, f"{path}:{label[0]}") for label in read_values(path, "score"))


def _checked(label: tuple[int, str, str, float], where: str) -> Label:
    """A label with ids, and a score that float32 can hold.

    Raises:
        DataError: it is not.
    """
    _, query_id, doc_id, score = label
    problem = id_problem(query_id, "query_id") or id_problem(doc_id, "doc_id")
    if not problem and not abs(score) <= _LARGEST:
        problem = f"the score is {score:g}, expected a finite 32-bit number"
    if problem:
        raise DataError(f"{where}: {problem}; correct or remove it")
    return label


def _jsonl(path: Path) -> Iterator[Label]:
    for number, line in lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        values: list[Any] = [row.get(name) for name in _COLUMNS] if isinstance(row, dict) else []
        if [type(value) in kinds for value, kinds in zip(values, _KINDS, strict=False)] != [True] * len(_KINDS):
            raise DataError(
                f"{path}:{number}: expected a JSON object with query_id and doc_id (strings or integers) "
                f"and score (a number), got {line[:80]!r}"
            )
        yield _checked((number, str(values[0]), str(values[1]), _score(values[2])), f"{path}:{number}")


def _score(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond float64
        return math.inf if value > 0 else -math.inf


_KINDS = ({str, int}, {str, int}, {int, float})


def _parquet(path: Path) -> Iterator[Label]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow)
            start = 1
            for batch in file.iter_batches(columns=_COLUMNS):
                columns = _columns(path, start, batch)
                yield from (_checked(label, f"{path}: row {label[0]}") for label in zip(*columns, strict=True))
                start += batch.num_rows
            rows = sum(file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))
            if start - 1 != rows:  # pyarrow ends early where a damaged column is shorter than the others
                raise DataError(f"{path} is damaged: its columns end at row {start - 1}, expected {rows}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise DataError(f"cannot read {path} as Parquet with query_id, doc_id and score: {said}") from None


def _check_schema(path: Path, schema: pa.Schema) -> None:
    """Check that there is one column of each name, with ids or numbers.

    Raises:
        DataError: there is not.
    """
    for name in _COLUMNS:
        if schema.names.count(name) != 1:
            raise DataError(f"{path}: {schema.names.count(name) or 'no'} column {name}; expected one")
        kind = schema.field(name).type
        kind = str(getattr(kind, "value_type", kind))  # a dictionary's, if it is one
        if not (_NUMBERS if name == "score" else _IDS).fullmatch(kind):
            expected = "numbers" if name == "score" else "strings or integers"
            raise DataError(f"{path}: column {name} holds {kind}, expected {expected}")


def _columns(path: Path, start: int, batch: pa.RecordBatch) -> list[Sequence[Any]]:
    """Row numbers, from ``start``, and the columns of a label, which have no nulls."""
    import pyarrow as pa

    batch.validate(full=True)  # finds text that is not UTF-8
    kinds = (pa.string(), pa.string(), pa.float64())
    # A large integer is rounded, as everywhere.
    columns = [batch[name].cast(kind, safe=name != "score") for name, kind in zip(_COLUMNS, kinds, strict=True)]
    for name, column in zip(_COLUMNS, columns, strict=True):
        if column.null_count:
            row = start + column.is_null().index(pa.scalar(value=True)).as_py()
            raise DataError(f"{path}: {name} is null in row {row}")
    return [range(start, start + batch.num_rows), *(column.to_pylist() for column in columns)]


_READERS: dict[str, Callable[[Path], Iterator[Label]]] = {".parquet": _parquet, ".jsonl": _jsonl}
