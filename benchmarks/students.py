"""Train static students on given lists and search with them exactly, each in a single process.

Uses the same loop and losses as ``gradret train``, without Ray Train for each of hundreds of trainings.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow as pa

import gradret
from gradret.config.resources import TrainResources
from gradret.config.train import Train
from gradret.encoders.static import Static
from gradret.flow import Flow
from gradret.store.artifacts import Draft, write_shard
from gradret.store.contracts import schema
from gradret.text import passage
from gradret.training.checkpoint import load_checkpoint
from gradret.training.loop import Job, load_student, train_loop
from gradret.training.prepare import prepare

EXTRACTIVE = ("generate.training_queries=false", "generate.generator.queries=21000", "generate.generator.per_doc=12")
"""Changes that leave people's queries out of the quickstart's lists, for what is compared by such queries."""

MEASURES = {"nDCG@10": ir_measures.nDCG @ 10, "Recall@100": ir_measures.R @ 100}
K = 100

Values = dict[str, dict[str, float]]
"""A measure's value for every query."""


@dataclass
class Place:
    """A collection, the student before training, and human queries by split."""

    name: str
    model: Path
    docs: pa.Table
    queries: dict[str, dict[str, str]]
    qrels: dict[str, list[ir_measures.Qrel]]

    @cached_property
    def doc_ids(self) -> list[str]:
        return self.docs["doc_id"].to_pylist()

    @cached_property
    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of all documents, for a student that starts from ``model``."""
        columns = self.docs["title"].to_pylist(), self.docs["text"].to_pylist()
        return tokens(self, [passage(*row) for row in zip(*columns, strict=True)], "docs")


def place(flow: Flow, folder: Path, splits: Sequence[str]) -> Place:
    """Return the ``Place`` of the BEIR folder of ``flow``."""
    every = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    queries, qrels = {}, {}
    for split in splits:
        qrels[split] = judgments(folder / "qrels" / f"{split}.tsv")
        judged = {qrel.query_id for qrel in qrels[split]}
        queries[split] = {row["_id"]: row["text"] for row in every if row["_id"] in judged}
    docs = flow.ingest.table("docs", ["doc_id", "title", "text"]).sort_by("doc_id")
    return Place(flow.config.name, flow.base.path / "model", docs, queries, qrels)


def judgments(path: Path) -> list[ir_measures.Qrel]:
    """Return the judgments in a BEIR file."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [ir_measures.Qrel(query, doc, int(grade)) for query, doc, grade in (line.split("\t") for line in lines)]


def training(**changes: object) -> Train:
    """Return the quickstart's settings, with one thread and without early stopping."""
    settings = gradret.load("configs/quickstart.yaml", ["train.learning_rate=5e-3"]).train
    changes = {"encoder": Static(), "resources": TrainResources(threads=1), "patience": 1000} | changes
    return dataclasses.replace(settings, **changes)


@dataclass
class Trained:
    """The weights after the last epoch, and the training time."""

    tokens: np.ndarray
    weights: np.ndarray
    seconds: float


def trained(here: Place, texts: pa.Table, groups: Sequence[Mapping], settings: Train, seed: int, kept: Path) -> Trained:
    """Train on ``groups``.

    Args:
        here: whose documents they list.
        texts: query_id and text of their queries.
        groups: rows of GROUPS.
        settings: of the training.
        seed: of order and draws.
        kept: where tokens and lists are, for other trainings on the same lists.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        job = Job(settings, seed, here.model, work, Path(folder) / "metrics.jsonl")
        if not kept.exists():
            shard = Path(folder) / "docs.parquet"
            write_shard(shard, here.docs.append_column("origin", here.docs["doc_id"]), "docs")
            lists = pa.Table.from_pylist(list(groups), schema("groups"))
            prepare(job, Draft(Path(folder), "train"), [shard], texts, lists)
            keep(work, kept)
        shutil.copytree(kept, work, dirs_exist_ok=True)
        started = time.monotonic()
        train_loop(job)
        seconds = time.monotonic() - started
        found = load_checkpoint(work / "last.safetensors")
        assert found is not None
        return Trained(load_student(job).tokens, found[0]["student.0"].numpy(), seconds)


def keep(work: Path, kept: Path) -> None:
    """Copy atomically, because another process may copy the same file."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=kept.parent))
    shutil.copytree(work, draft / "work")
    try:
        (draft / "work").rename(kept)
    except OSError:
        assert kept.exists()
    shutil.rmtree(draft)


def tokens(here: Place, texts: list[str], table: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the concatenated token ids and the offset of each text."""
    rows = Static().student(here.model).tokenize(texts, table)
    return np.concatenate(rows), np.cumsum([0, *map(len, rows)])


def searched(here: Place, split: str, model: Trained | None, source: Place | None = None) -> Values:
    """Return the measures of every query after an exact search of all documents.

    Args:
        here: what is searched.
        split: whose queries.
        model: None is the student before training.
        source: where it was trained, if elsewhere: its tokens' weights there stay what they were.
    """
    import torch

    student = Static().student((source or here).model)
    if model:
        student.weight.data[torch.from_numpy(model.tokens)] = torch.from_numpy(model.weights)
    asked = here.queries[split]
    with torch.no_grad():
        docs = student(*here.tokens).numpy()
        queries = student(*tokens(here, list(asked.values()), "queries")).numpy()
    scores = queries @ docs.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    run = [
        ir_measures.ScoredDoc(query_id, here.doc_ids[column], -rank)
        for query_id, columns in zip(asked, best, strict=True)
        for rank, column in enumerate(columns)
    ]
    names = {measure: name for name, measure in MEASURES.items()}
    found: Values = {name: dict.fromkeys(asked, 0.0) for name in MEASURES}
    for metric in ir_measures.iter_calc(list(names), here.qrels[split], run):
        found[names[metric.measure]][metric.query_id] = metric.value
    return found
