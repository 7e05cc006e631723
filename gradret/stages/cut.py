"""Cut long documents into passages: DOCS and LENGTHS.

Everything after this stage trains, indexes and searches passages as if they were documents; judgments stay those of
documents, and ``max_passage`` turns rankings of passages into rankings of documents.

A document's passages have about equal length, so that the last is not a scrap. Each is a part of the document's text,
unchanged, with the document's title.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left, bisect_right
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.passage_ids import passage_ids
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.text import pieces, sentences
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from gradret.config.run import Config

__all__ = ["cut", "cut_text", "deep", "to_passages"]

_NEAR = 4
"""A passage may end at a sentence's end that is this part of its length away."""
_DEEPEST = 10
"""Passages to search for per document, at most."""


def cut(config: Config, ingested: Artifact) -> Artifact:
    """Write DOCS, the passages of ``ingested``, and LENGTHS, the number of passages of each document.

    Returns ``ingested`` itself if ``passages.size`` is 0.
    """
    settings = config.passages
    if not settings.size:
        return ingested
    body = functools.partial(_cut, ingested, settings.size, settings.overlap)
    inputs = {"docs": ingested}
    return make("cut", config.storage_path, module=__name__, settings={"passages": settings}, inputs=inputs, body=body)


def deep(config: Config, docs: Artifact) -> Config:
    """Return a config that searches enough passages for the ``search.k`` best documents.

    These are as many passages as the ``search.k`` longest documents have, but at most ten times ``search.k``. Returns
    ``config`` itself if documents are not cut.
    """
    if not config.passages.size:
        return config
    import numpy as np

    k = config.search.k + config.dataset.exclude_same_ids
    lengths = np.sort(docs.table("lengths", ["passages"])["passages"].to_numpy())[::-1]
    enough = int(lengths[: k - 1].sum()) + 1
    most = min(enough, int(lengths.sum()), _DEEPEST * k)
    return replace(config, search=replace(config.search, k=most))


def to_passages(docs: Artifact, qrels: pa.Table) -> pa.Table:
    """Replace each judgment of a document by one of each of its passages; unknown documents are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = docs.table("lengths")
    known = known.filter(pc.is_in(known["doc_id"], value_set=pc.unique(qrels["doc_id"])))
    lengths = dict(zip(*(column.to_pylist() for column in known.columns), strict=True))
    rows = [
        row | {"doc_id": passage_id}
        for row in qrels.to_pylist()
        for passage_id in passage_ids(row["doc_id"], lengths.get(row["doc_id"], 0))
    ]
    return pa.Table.from_pylist(rows, qrels.schema)


def _cut(ingested: Artifact, size: int, overlap: int, draft: Draft) -> None:
    shards = ingested.shards("docs")
    load = functools.partial(_Cutter, size, overlap)
    map_shards(draft, shards, load, unit="docs", total=ingested.counts.get("rows_out"))
    draft.counts["rows_out"] = draft.counts["passages"]  # without rows of LENGTHS


class _Cutter:
    def __init__(self, size: int, overlap: int) -> None:
        self.size, self.overlap = size, overlap

    def __call__(self, path: Path) -> Result:
        import numpy as np
        import pyarrow as pa

        from gradret.store.contracts import schema

        rows = read_shard(path, "docs")
        passages = [cut_text(text, self.size, self.overlap) for text in rows["text"].to_pylist()]
        lengths = [len(texts) for texts in passages]
        named = zip(rows["doc_id"].to_pylist(), lengths, strict=True)
        columns = {
            "doc_id": [passage_id for doc_id, number in named for passage_id in passage_ids(doc_id, number)],
            "text": [text for texts in passages for text in texts],
        }
        of_document = rows.select(["title", "origin"]).take(np.repeat(np.arange(rows.num_rows), lengths))
        columns |= {name: of_document[name] for name in of_document.column_names}
        tables = {
            "docs": pa.table({name: columns[name] for name in schema("docs").names}, schema("docs")),
            "lengths": pa.table({"doc_id": rows["doc_id"], "passages": pa.array(lengths, pa.int32())}),
        }
        counts = {"passages": sum(lengths), "documents_cut": sum(number > 1 for number in lengths)}
        return Result(tables, rows.num_rows, rows.num_rows, counts=counts)


def cut_text(text: str, size: int, overlap: int) -> list[str]:
    """Cut a text into passages; a text of at most ``size`` words is its only one.

    Args:
        text: a document's text.
        size: largest number of words of a passage, as ``gradret.text.pieces`` counts them.
        overlap: words that a passage repeats from the end of the one before; at most half of ``size``.
    """
    words = _places(text, pieces(text))
    if len(words) <= size:
        return [text]
    ends = {end for _, end in _places(text, sentences(text))}
    after_sentence = [place for place, (_, end) in enumerate(words, 1) if end in ends]
    passages, start = [], 0
    while start < len(words):
        end = _end(start, len(words), size, overlap, after_sentence)
        passages.append(text[words[start][0] : words[end - 1][1]])
        if end == len(words):
            break
        start = end - overlap
    return passages


def _end(start: int, total: int, size: int, overlap: int, after_sentence: list[int]) -> int:
    """Return where the passage from ``start`` ends: near the end of an equal share, if possible after a sentence."""
    left = total - start
    if left <= size:
        return total
    share = math.ceil((left - overlap) / (size - overlap))
    length = math.ceil((left + (share - 1) * overlap) / share)
    near = length // _NEAR
    low, high = start + length - near, start + min(length + near, size)
    fitting = after_sentence[bisect_left(after_sentence, low) : bisect_right(after_sentence, high)]
    return min(fitting, key=lambda place: abs(place - start - length), default=start + length)


def _places(text: str, parts: Iterable[str]) -> list[tuple[int, int]]:
    """Return start and end in ``text`` of each of its parts, in order, without the space around them."""
    places, end = [], 0
    for part in parts:
        start = text.index(part.strip(), end)
        end = start + len(part.strip())
        places.append((start, end))
    return places
