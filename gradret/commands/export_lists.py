"""Write a run's training lists in the formats of other libraries, one block of lists in memory at a time."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError, ContractError
from gradret.progress import say
from gradret.store.contracts import schema
from gradret.text import passage

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.commands.export_source import Source
    from gradret.store.artifacts import Artifact

    Row = dict[str, Any]

__all__ = ["write_datasets", "write_json_lines"]

_BLOCK = 2000
"""Lists whose texts are in memory together."""


def write_json_lines(source: Source, draft: Path, form: str) -> None:
    """Write ``train.jsonl`` and ``dev.jsonl``; lists without a positive, or with positives only, are left out.

    Args:
        source: the run.
        draft: a folder that does not exist.
        form: ``flagembedding`` or ``tevatron``.
    """
    draft.mkdir(parents=True)
    counts: Counter[str] = Counter()
    for block in _blocks(source, draft / ".work"):
        usable = [row for row in block if any(row["positives"]) and not all(row["positives"])]
        counts.update(row["split"] for row in usable)
        counts["left out"] += len(block) - len(usable)
        for split in {row["split"] for row in usable}:
            with (draft / f"{split}.jsonl").open("a", encoding="utf-8") as file:
                rows = (_JSON[form](row) for row in usable if row["split"] == split)
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    shutil.rmtree(draft / ".work")
    _say(counts, "the format needs a positive and a negative")


def write_datasets(source: Source, draft: Path, form: str) -> None:
    """Write folders for ``datasets.load_from_disk``, with the splits ``train`` and ``dev``.

    Args:
        source: the run.
        draft: a folder that does not exist.
        form: ``hf`` for the whole lists, ``sentence-transformers`` for ``triplets`` and ``lists``.

    Raises:
        ConfigError: the package ``datasets`` is not installed.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError("export: the package datasets is not installed; pip install 'gradret[hf]'")
    import pyarrow as pa
    from datasets import Dataset, DatasetDict, disable_progress_bars  # type: ignore[import-untyped]

    disable_progress_bars()
    work = draft / ".work"
    counts: Counter[str] = Counter()
    writers: dict[tuple[str, str], Any] = {}
    for block in _blocks(source, work):
        counts.update(row["split"] for row in block)
        for split in sorted({row["split"] for row in block}):
            for name, rows_of in _DATASETS[form].items():
                rows = [each for row in block if row["split"] == split for each in rows_of(row)]
                table = pa.Table.from_pylist(rows, _schema(name))
                if (name, split) not in writers:
                    writers[name, split] = pa.ipc.new_stream(work / f"{name}.{split}", table.schema)
                writers[name, split].write_table(table)
    for writer in writers.values():
        writer.close()
    for name in _DATASETS[form]:
        splits = {split: Dataset.from_file(str(work / f"{name}.{split}")) for key, split in writers if key == name}
        DatasetDict({split: splits[split] for split in sorted(splits, reverse=True)}).save_to_disk(str(draft / name))
    shutil.rmtree(work)
    _say(counts)


def _say(counts: Counter[str], why: str = "") -> None:
    left_out = f", {counts['left out']:,} left out: {why}" if counts["left out"] else ""
    say(f"export     {counts['train']:,} lists for training, {counts['dev']:,} held out{left_out}")


def _blocks(source: Source, work: Path) -> Iterator[list[Row]]:
    """Yield GROUPS with the texts of queries and documents as ``query`` and ``docs``, dicts of title and text."""
    trained_on = {name: source.input("train", name) for name in ("groups", "queries", "docs")}
    queries = _Rows(work / "queries", [trained_on["queries"]], "queries", ["query_id", "text"])
    # The documents that were generated for the queries, if any, are beside them.
    docs = _Rows(work / "docs", [trained_on["docs"], trained_on["queries"]], "docs", ["doc_id", "title", "text"])
    for shard in trained_on["groups"].batches("groups"):
        for start in range(0, shard.num_rows, _BLOCK):
            block = shard.slice(start, _BLOCK).to_pylist()
            texts = queries.of({row["query_id"] for row in block})
            found = docs.of({doc_id for row in block for doc_id in row["doc_ids"]})
            for row in block:
                row["query"] = texts[row["query_id"]]["text"]
                row["docs"] = [found[doc_id] for doc_id in row["doc_ids"]]
            yield block


class _Rows:
    """The rows of a table by id, in memory-mapped files: a look-up reads the ids and the rows that it finds."""

    def __init__(self, folder: Path, artifacts: Sequence[Artifact], table: str, columns: list[str]) -> None:
        import pyarrow as pa

        folder.mkdir(parents=True)
        self.tables: list[pa.Table] = []
        for artifact in artifacts:
            for rows in artifact.batches(table):
                path = folder / f"{len(self.tables)}.arrow"
                kept = rows.select(columns)
                with pa.ipc.new_file(path, kept.schema) as file:
                    file.write_table(kept)
                self.tables.append(pa.ipc.open_file(pa.memory_map(str(path))).read_all())

    def of(self, ids: set[str]) -> dict[str, Row]:
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(sorted(ids), pa.string())
        found = {
            row[table.column_names[0]]: row
            for table in self.tables
            for row in table.filter(pc.is_in(table[0], value_set=wanted)).to_pylist()
        }
        if missing := ids - found.keys():
            raise ContractError(f"GROUPS names {min(missing)!r}, which is in no table of the run")
        return found


def _passages(row: Row) -> list[str]:
    return [passage(doc["title"], doc["text"]) for doc in row["docs"]]


def _parted(row: Row, values: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The values of the list's positives, and of its other documents."""
    pairs = list(zip(values, row["positives"], strict=True))
    return [value for value, positive in pairs if positive], [value for value, positive in pairs if not positive]


def _flagembedding(row: Row) -> Row:
    (pos, neg), (pos_scores, neg_scores) = _parted(row, _passages(row)), _parted(row, row["grades"])
    return {"query": row["query"], "pos": pos, "neg": neg, "pos_scores": pos_scores, "neg_scores": neg_scores}


def _tevatron(row: Row) -> Row:
    passages = [
        {"docid": doc["doc_id"], "title": doc["title"] or "", "text": doc["text"], "score": grade}
        for doc, grade in zip(row["docs"], row["grades"], strict=True)
    ]
    positives, negatives = _parted(row, passages)
    return {
        "query_id": row["query_id"],
        "query": row["query"],
        "positive_passages": positives,
        "negative_passages": negatives,
    }


_JSON: dict[str, Callable[[Row], Row]] = {"flagembedding": _flagembedding, "tevatron": _tevatron}


def _triplets(row: Row) -> list[Row]:
    """One row for each positive and each other document at least, with the others in turn."""
    positives, others = _parted(row, list(zip(_passages(row), row["grades"], strict=True)))
    number = max(len(positives), len(others)) if positives and others else 0
    pairs = zip(islice(cycle(positives), number), islice(cycle(others), number), strict=True)
    return [
        {"query": row["query"], "positive": one[0], "negative": other[0], "label": [one[1], other[1]]}
        for one, other in pairs
    ]


def _labelled(row: Row) -> list[Row]:
    return [{"query": row["query"], "docs": _passages(row), "labels": row["grades"]}]


def _whole(row: Row) -> list[Row]:
    return [{**row, "docs": _passages(row)}]


_DATASETS: dict[str, dict[str, Callable[[Row], list[Row]]]] = {
    "hf": {"": _whole},
    "sentence-transformers": {"triplets": _triplets, "lists": _labelled},
}
"""The datasets of a form, by their folder."""


def _schema(name: str) -> pa.Schema:
    import pyarrow as pa

    text, texts, numbers = pa.string(), pa.list_(pa.string()), pa.list_(pa.float32())
    if name == "triplets":
        return pa.schema({"query": text, "positive": text, "negative": text, "label": numbers})
    if name == "lists":
        return pa.schema({"query": text, "docs": texts, "labels": numbers})
    return schema("groups").append(pa.field("query", text)).append(pa.field("docs", texts))
