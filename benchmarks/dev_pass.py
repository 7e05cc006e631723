"""Memory and time of the dev pass as the held-out queries and their documents grow.

    python -m benchmarks.dev_pass

With `choose_by: dev_ndcg` 4,096 held-out queries rank up to a million documents; with `dev_loss` up to 49,152 queries
have lists of 20 documents each, a million in all. The student is a random static encoder of 384 dimensions, the loss
`kl`. Each case runs in a separate process. The baseline is the same ranking in one block, which is what bounds nothing.
Needs 8 GiB of memory. Writes ``benchmarks/results/dev_pass_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks.hardware import hardware, result_path
from benchmarks.memory import DIMENSION, DOCUMENTS, MIB, Memory, said, static, tokens
from gradret.losses.kl import KL
from gradret.store.contracts import schema
from gradret.training.batches import Groups
from gradret.training.dev import measure, ndcg
from gradret.training.objective import Objective
from gradret.training.step import Texts
from gradret.work.session import cores

BATCH = 4096


@dataclasses.dataclass(frozen=True)
class Case:
    """A dev pass."""

    chosen_by: str
    queries: int
    documents: int
    """Documents of the lists and of the sampled corpus together."""


CASES = [
    *(Case("dev_ndcg", BATCH, documents) for documents in (81_920, 250_000, 500_000, 1_000_000)),
    *(Case("dev_loss", queries, queries * DOCUMENTS) for queries in (BATCH, 3 * BATCH, 6 * BATCH, 12 * BATCH)),
]
ONE_BLOCK = [Case("one block", BATCH, documents) for documents in (20_480, 40_960, 81_920)]


def main() -> None:
    """Measure every case and write the table."""
    fresh = {"mp_context": multiprocessing.get_context("spawn"), "max_workers": 1, "max_tasks_per_child": 1}
    with ProcessPoolExecutor(**fresh) as pool:
        rows = [said(row) for row in pool.map(dev_pass, CASES)] + [said(row) for row in pool.map(one_block, ONE_BLOCK)]
    table = markdown(rows)
    print(table)
    result_path("dev_pass", "json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    result_path("dev_pass", "md").write_text(table, encoding="utf-8")


def dev_pass(case: Case) -> dict:
    """Measure the held-out queries once, encoding included."""
    torch.set_num_threads(cores())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        student, dev = static(folder / "model"), held_out(case)
        texts = Texts(
            tokens(folder / "queries", case.queries, longest=12), tokens(folder / "docs", case.documents, 16), 4096
        )
        corpus = np.arange(case.documents) if case.chosen_by == "dev_ndcg" else None
        memory, started = Memory(), time.monotonic()
        measures = measure(student, Objective([KL()]), dev, texts, batch_size=BATCH, corpus=corpus)
        seconds = time.monotonic() - started
        assert ("dev_ndcg" in measures) == (corpus is not None)
        return dataclasses.asdict(case) | memory.found() | {"seconds": seconds}


def one_block(case: Case) -> dict:
    """Rank given vectors with all scores in memory."""
    torch.set_num_threads(cores())
    batch = held_out(case).batch(np.arange(case.queries), 0, more_docs=np.arange(case.documents))
    torch.manual_seed(0)
    vectors = torch.randn(case.documents + case.queries, DIMENSION)
    memory, started = Memory(), time.monotonic()
    ndcg(batch, vectors, rows=case.queries, columns=case.documents)
    return dataclasses.asdict(case) | memory.found() | {"seconds": time.monotonic() - started}


def held_out(case: Case) -> Groups:
    """Lists of random grades; lists share documents only if there are too few."""
    draw = np.random.default_rng(0)
    doc_ids = [f"d{number:07d}" for number in range(case.documents)]
    listed = np.arange(case.queries * DOCUMENTS) % case.documents
    starts = pa.array(np.arange(0, len(listed) + 1, DOCUMENTS, np.int32))
    grades = pa.ListArray.from_arrays(starts, pa.array(draw.random(len(listed), np.float32)))
    query_ids = [f"q{number:06d}" for number in range(case.queries)]
    rows = pa.table(
        {
            "query_id": query_ids,
            "split": ["dev"] * case.queries,
            "source_doc_id": pa.nulls(case.queries, pa.string()),
            "kind": pa.nulls(case.queries, pa.string()),
            "doc_ids": pa.ListArray.from_arrays(starts, pa.array(doc_ids).take(pa.array(listed))),
            "grades": grades,
            "scores": grades,
            "positives": pa.ListArray.from_arrays(starts, pa.array(np.arange(len(listed)) % DOCUMENTS == 0)),
            "relevant_doc_ids": pa.array([[]] * case.queries, pa.list_(pa.string())),
        },
        schema("groups"),
    )
    return Groups(rows, pa.array(doc_ids), DOCUMENTS, 0)


def markdown(rows: list[dict]) -> str:
    """The result file."""
    lines = [
        "# Memory of the dev pass",
        "",
        f"{hardware()}. Command: `python -m benchmarks.dev_pass`.",
        f"{DOCUMENTS} documents per list; vectors of {DIMENSION} dimensions; every case in a separate process; memory",
        "in MiB. `vectors` is the size of all texts' vectors, `scores` that of all queries' scores for all documents,",
        "and `pass` the increase of the process's memory during the dev pass, vectors included. `one block` ranks",
        "given vectors with all scores in memory.",
        "",
        "| chosen by | queries | documents | vectors | scores | pass | seconds |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        queries, documents = row["queries"], row["documents"]
        sizes = 4 * DIMENSION * (queries + documents), 4 * queries * documents, row["growth"]
        cells = [row["chosen_by"], f"{queries:,}", f"{documents:,}", *(f"{size / MIB:,.0f}" for size in sizes)]
        lines.append(f"| {' | '.join(cells)} | {row['seconds']:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
