"""Prepare the tables for training a cross-encoder, with what trains an encoder: lists, step, loop and losses.

A pair of a query and a document takes the place of a document. Its vector is the pair's score, of one dimension, and
that of every query is 1, so the inner product of a query and a pair is the score. The pairs of other queries are
masked by ``gradret.training.batches.Pairs``, as documents that no loss may use: all losses compare a query's own list.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gradret.pairs import pair_id
from gradret.store.artifacts import Artifact, Draft, read_shard, write_shard
from gradret.store.checksums import check
from gradret.store.mirror import fetch_below, fetched, publish, remove
from gradret.store.results import Result
from gradret.texts import doc_texts, query_texts
from gradret.training.prepare import Prepared, at_least, check_lists, doc_ids
from gradret.training.tokens import join_tokens, write_ids, write_tokens
from gradret.work.shards import run_step

if TYPE_CHECKING:
    from gradret.training.loop import Job

__all__ = ["prepare_pairs", "write_pairs"]

_LISTS_A_BLOCK = 1000


def prepare_pairs(
    job: Job,
    draft: Draft,
    shards: Sequence[Path],
    *,
    texts: Sequence[Artifact],
    queries: Artifact,
    groups: pa.Table,
) -> Prepared:
    """Write the training data to ``job.work``, as ``prepare`` does, with a row of tokens per pair.

    Args:
        job: its ``settings`` have the losses and the teacher.
        draft: the stage's draft, whose work folder is ``job.work``.
        shards: shards of DOCS, with generated documents.
        texts: artifacts with their texts.
        queries: QUERIES, at least those of the groups.
        groups: GROUPS, sorted by query_id.

    Raises:
        ConfigError: a loss can use none of the lists.
        DataError: no list is left to train on, or to select the checkpoint with.
    """
    checked = check_lists(job, doc_ids(shards), groups)
    for split, part in checked.parts.items():
        write_shard(job.work / "lists" / f"{split}.parquet", part, "groups")
    publish(job.work / "lists")
    blocks = [
        _Block(job.work / "lists" / f"{split}.parquet", start)
        for split, part in checked.parts.items()
        for start in range(0, part.num_rows, _LISTS_A_BLOCK)
    ]
    run_step(draft, "tokenize", blocks, functools.partial(_Tokenizer, job, texts, queries))
    ids = write_pairs(job, checked.parts)
    fetch_below(job.work / "parts")
    join_tokens(job.work / "tokens" / "docs", [_folder(job, block) for block in blocks], np.argsort(np.argsort(ids)))
    for folder in ("parts", "lists"):
        remove(job.work / folder)
        shutil.rmtree(job.work / folder, ignore_errors=True)
    student = job.settings.student(job.model)
    for split, part in checked.parts.items():
        write_tokens(job.work / "tokens" / split, [""] * part.num_rows, student.tokenize, "queries")
    at_limit = {"docs": at_least(job.work / "tokens" / "docs", student.lengths["docs"])}
    return Prepared(checked.counts, checked.set_aside, checked.usable, at_limit)


def write_pairs(job: Job, parts: dict[str, pa.Table]) -> np.ndarray:
    """Write the lists with pair_ids in place of doc_ids, and all pair_ids; return these in order of the lists."""
    ids: list[str] = []
    for split, part in parts.items():
        rows = part.to_pylist()
        for row in rows:
            row["doc_ids"] = [pair_id(row["query_id"], doc_id) for doc_id in row["doc_ids"]]
            row["relevant_doc_ids"] = []
            ids += row["doc_ids"]
        write_shard(job.work / f"{split}.parquet", pa.Table.from_pylist(rows, part.schema), "groups")
    write_ids(job.work, pa.array(sorted(ids), pa.string()))
    return np.array(ids)


@dataclass(frozen=True)
class _Block:
    """Lists whose pairs are tokenized together: a file of them, and the first."""

    lists: Path
    start: int


def _folder(job: Job, block: _Block) -> Path:
    return job.work / "parts" / f"{block.lists.stem}-{block.start}"


class _Tokenizer:
    """Tokenizes the pairs of a block of lists."""

    def __init__(self, job: Job, texts: Sequence[Artifact], queries: Artifact) -> None:
        self.job, self.student = job, job.settings.student(check(job.model))
        self.texts, self.queries = texts, queries

    def __call__(self, block: _Block) -> Result:
        lists = (
            read_shard(fetched(block.lists), "groups", ["query_id", "doc_ids"])
            .slice(block.start, _LISTS_A_BLOCK)
            .to_pylist()
        )
        asked = query_texts(self.queries, [row["query_id"] for row in lists])
        known = doc_texts(self.texts, {doc_id for row in lists for doc_id in row["doc_ids"]})
        pairs = [(asked[row["query_id"]], known[doc_id]) for row in lists for doc_id in row["doc_ids"]]
        write_tokens(_folder(self.job, block), pairs, self.student.tokenize, "docs")
        publish(_folder(self.job, block))
        return Result({}, len(lists), len(lists))
