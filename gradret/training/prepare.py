"""Prepare the tables for training: check and split the lists, tokenize their texts once.

Only documents that a list names, or that the sampled corpus of the dev queries has, are tokenized: by Ray tasks, a
shard of DOCS at a time. The driver holds the ids of the corpus, but no text of it.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gradret.config.train import Train
from gradret.errors import DataError
from gradret.store.artifacts import Draft, read_shard, write_shard
from gradret.store.checksums import check
from gradret.store.mirror import fetch_below, fetched, publish, remove
from gradret.store.results import Result
from gradret.text import passage
from gradret.training.dev import sample
from gradret.training.tokens import Tokens, join_tokens, write_ids, write_tokens
from gradret.training.usable import broken, count_usable, unusable
from gradret.work.shards import run_step

if TYPE_CHECKING:
    from gradret.training.loop import Job

__all__ = ["Checked", "Prepared", "at_least", "check_lists", "doc_ids", "prepare"]

_GROUPS_A_BATCH = 1000


@dataclass(frozen=True)
class Prepared:
    """Counts of the prepared data."""

    counts: dict[str, int]
    """Number of lists for ``train`` and ``dev``."""
    set_aside: list[tuple[str, str]]
    """query_id of every list that cannot be used, and the reason."""
    usable: dict[str, int]
    """Number of training lists that each loss can use."""
    at_limit: dict[str, int]
    """Number of tokenized texts that reach the model's maximum length, so are most likely truncated."""


def prepare(job: Job, draft: Draft, shards: Sequence[Path], queries: pa.Table, groups: pa.Table) -> Prepared:
    """Write the training data to ``job.work``.

    Args:
        job: its ``settings`` have the losses and the encoder.
        draft: the stage's draft, whose work folder is ``job.work``.
        shards: shards of DOCS, with generated documents.
        queries: QUERIES, at least those of the groups.
        groups: GROUPS, sorted by query_id.

    Raises:
        ConfigError: a loss can use none of the lists.
        DataError: no list is left to train on, or to select the checkpoint with.
    """
    stored = doc_ids(shards)
    checked = check_lists(job, stored, groups)
    used = _write_ids(job, stored, checked.docs)
    numbers = pc.fill_null(pc.index_in(stored, value_set=used), -1).to_numpy()
    bounds = np.cumsum([0, *map(len, stored.chunks)]).tolist()
    _tokenize_docs(job, draft, [_Part(*part) for part in zip(shards, bounds, bounds[1:], strict=False)], numbers)
    student = job.settings.student(job.model)
    text_of = dict(zip(queries["query_id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    tokens = job.work / "tokens"
    for split, part in checked.parts.items():
        write_shard(job.work / f"{split}.parquet", part, "groups")
        texts = [text_of[query_id] for query_id in part["query_id"].to_pylist()]
        write_tokens(tokens / split, texts, student.tokenize, "queries")
    at_limit = {"docs": at_least(tokens / "docs", student.lengths["docs"])}
    at_limit["queries"] = at_least(tokens / "train", student.lengths["queries"])
    return Prepared(checked.counts, checked.set_aside, checked.usable, at_limit)


def doc_ids(shards: Sequence[Path]) -> pa.ChunkedArray:
    """Return the doc_ids of the shards, a chunk each."""
    return pa.chunked_array([read_shard(path, "docs", ["doc_id"])["doc_id"].combine_chunks() for path in shards])


@dataclass(frozen=True)
class Checked:
    """Lists that can be used."""

    parts: dict[str, pa.Table]
    """GROUPS of ``train`` and of ``dev``."""
    docs: pa.Array
    """The doc_ids of the corpus that any list names, those of other lists too."""
    set_aside: list[tuple[str, str]]
    usable: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        return {split: part.num_rows for split, part in self.parts.items()}


def check_lists(job: Job, stored: pa.ChunkedArray, groups: pa.Table) -> Checked:
    """Split the lists, and set aside those that are broken or that no loss can use.

    Args:
        job: its ``settings`` have the losses.
        stored: the doc_ids of the corpus.
        groups: GROUPS, sorted by query_id.

    Raises:
        ConfigError: a loss can use none of the lists.
        DataError: no list is left to train on, or to select the checkpoint with.
    """
    losses = job.settings.loss
    listed = pc.unique(groups["doc_ids"].combine_chunks().flatten())
    known = stored.filter(pc.is_in(stored, value_set=listed)).combine_chunks()
    unknown = frozenset(listed.filter(pc.invert(pc.is_in(listed, value_set=known))).to_pylist())
    reasons = [broken(group, unknown) or unusable(group, losses) for group in _rows(groups)]
    query_ids = groups["query_id"].to_pylist()
    set_aside = [(query_id, reason) for query_id, reason in zip(query_ids, reasons, strict=True) if reason]
    kept = groups.filter([not reason for reason in reasons])
    parts = {split: kept.filter(pc.equal(kept["split"], split)) for split in ("train", "dev")}
    for split, part in parts.items():
        if not part.num_rows:
            why = f"; {len(set_aside):,} were set aside, the first because: {set_aside[0][1]}" if set_aside else ""
            raise DataError(f"none of the {groups.num_rows:,} lists can be used for {split}{why}")
    usable = count_usable(_rows(parts["train"]), losses, job.settings.key)
    return Checked(parts, known, set_aside, usable)


def _rows(groups: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows as Python objects, which take many times the memory of the table, a batch at a time."""
    for batch in groups.to_batches(max_chunksize=_GROUPS_A_BATCH):
        yield from batch.to_pylist()


def _write_ids(job: Job, stored: pa.ChunkedArray, known: pa.Array) -> pa.Array:
    """Write ``doc_ids.arrow``: the documents of lists, and, if nDCG chooses, those of ``sample.npy``; return them."""
    settings = job.settings
    assert isinstance(settings, Train)
    drawn = known.slice(0, 0)
    if settings.choose_by != "dev_loss":
        corpus = stored.take(pc.sort_indices(stored)).combine_chunks()
        drawn = corpus.take(pa.array(sample(corpus, settings.dev_docs, job.seed)))
    used = pc.unique(pa.concat_arrays([known, drawn]))
    used = used.take(pc.sort_indices(used))
    write_ids(job.work, used)
    np.save(job.work / "sample.npy", pc.index_in(drawn, value_set=used).to_numpy().astype(np.int64))
    return used


@dataclass(frozen=True)
class _Part:
    """A shard of DOCS, and its first row among all documents and that after its last."""

    shard: Path
    start: int
    end: int


def _tokenize_docs(job: Job, draft: Draft, parts: Sequence[_Part], numbers: np.ndarray) -> None:
    """Tokenize the documents that have a number, which becomes their row; -1 is none."""
    np.save(job.work / "numbers.npy", numbers)
    publish(job.work / "numbers.npy")
    run_step(draft, "tokenize", parts, functools.partial(_Tokenizer, job))
    fetch_below(job.work / "parts")
    join_tokens(job.work / "tokens" / "docs", [_folder(job, part) for part in parts], numbers[numbers >= 0])
    remove(job.work / "parts")
    shutil.rmtree(job.work / "parts", ignore_errors=True)


def _folder(job: Job, part: _Part) -> Path:
    return job.work / "parts" / f"{part.start}-{part.end}"


class _Tokenizer:
    """Tokenizes the numbered documents of a shard."""

    def __init__(self, job: Job) -> None:
        self.job, self.student = job, job.settings.student(check(job.model))
        self.numbers = np.load(fetched(job.work / "numbers.npy"), mmap_mode="r")

    def __call__(self, part: _Part) -> Result:
        used = np.flatnonzero(self.numbers[part.start : part.end] >= 0)
        rows = read_shard(part.shard, "docs", ["title", "text"]).take(pa.array(used))
        texts = [passage(*row) for row in zip(rows["title"].to_pylist(), rows["text"].to_pylist(), strict=True)]
        write_tokens(_folder(self.job, part), texts, self.student.tokenize, "docs")
        publish(_folder(self.job, part))
        return Result({}, part.end - part.start, part.end - part.start)


def at_least(tokens: Path, length: int) -> int:
    """Return how many texts have at least this number of tokens."""
    rows = Tokens(tokens)
    return int(np.count_nonzero(rows.lengths(np.arange(len(rows.spans))) >= length))
