"""Prepare the tables for training: check and split the lists, tokenize every text once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from gradret.errors import DataError
from gradret.store.artifacts import write_shard
from gradret.text import passage
from gradret.training.tokens import Tokens, write_tokens
from gradret.training.usable import broken, count_usable, unusable

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.training.loop import Job

__all__ = ["Prepared", "prepare"]


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
    """Number of texts that reach the model's maximum length, so are most likely truncated."""


def prepare(job: Job, docs: pa.Table, queries: pa.Table, groups: pa.Table) -> Prepared:
    """Write the training data to ``job.work``.

    Args:
        job: its ``settings`` have the losses and the encoder.
        docs: DOCS, with generated documents, sorted by doc_id.
        queries: QUERIES, at least those of the groups.
        groups: GROUPS, sorted by query_id.

    Raises:
        ConfigError: a loss can use none of the lists.
        DataError: no list is left to train on, or to select the checkpoint with.
    """
    doc_ids, losses = docs["doc_id"].to_pylist(), job.settings.loss
    corpus = frozenset(doc_ids)
    reasons = [broken(group, corpus) or unusable(group, losses) for group in groups.to_pylist()]
    query_ids = groups["query_id"].to_pylist()
    set_aside = [(query_id, reason) for query_id, reason in zip(query_ids, reasons, strict=True) if reason]
    kept = groups.filter([not reason for reason in reasons])
    parts = {split: kept.filter(pc.equal(kept["split"], split)) for split in ("train", "dev")}
    for split, part in parts.items():
        if not part.num_rows:
            why = f"; {len(set_aside):,} were set aside, the first because: {set_aside[0][1]}" if set_aside else ""
            raise DataError(f"none of the {groups.num_rows:,} lists can be used for {split}{why}")
    usable = count_usable(parts["train"].to_pylist(), losses)

    student = job.settings.encoder.student(job.model)
    columns = docs["title"].to_pylist(), docs["text"].to_pylist()
    passages = [passage(title, text) for title, text in zip(*columns, strict=True)]
    tokens = job.work / "tokens"
    write_tokens(tokens / "docs", passages, student.tokenize, "docs")
    (job.work / "doc_ids.json").write_text(json.dumps(doc_ids), encoding="utf-8")
    text_of = dict(zip(queries["query_id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    for split, part in parts.items():
        write_shard(job.work / f"{split}.parquet", part, "groups")
        texts = [text_of[query_id] for query_id in part["query_id"].to_pylist()]
        write_tokens(tokens / split, texts, student.tokenize, "queries")
    at_limit = {"docs": _at_least(tokens / "docs", student.lengths["docs"])}
    at_limit["queries"] = _at_least(tokens / "train", student.lengths["queries"])
    return Prepared({split: part.num_rows for split, part in parts.items()}, set_aside, usable, at_limit)


def _at_least(tokens: Path, length: int) -> int:
    return int(np.count_nonzero(np.diff(Tokens(tokens).starts) >= length))
