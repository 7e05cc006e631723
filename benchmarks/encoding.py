"""Encoding against ``SentenceTransformer.encode``, with the same model, precision and cores, on real text.

    python -m benchmarks.encoding DATA [--device cuda] [--runs 3]

DATA is a folder of BEIR collections. The sides are:

- ``encode`` on the list of passages, with sentence-transformers' default batches, and for the static encoder also with
  batches of 1,024;
- ``loop``: gradret's ``encode_texts`` in this process;
- ``loop, stored``: the same, reading the stored collection and writing vectors;
- ``stage``: the same through Ray.

Sides alternate; results are medians over the runs. ``stage, beyond`` excludes the stage's start-up: it is the time for
all passages minus the time for a tenth of them, divided by 0.9.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.hardware import hardware, result_path
from gradret.config.loading import parse
from gradret.config.run import Config
from gradret.models.inference import pack
from gradret.models.locate import open_model
from gradret.stages.encode import encode_texts, load_model
from gradret.store.artifacts import read_shard, write_shard
from gradret.text import passage
from gradret.work.session import cores, session


@dataclass(frozen=True)
class Case:
    """A model over the first passages of a collection."""

    model: str
    collection: str
    passages: int


CPU = (
    Case("minilm", "cranfield", 600),
    Case("minilm", "vaswani", 2000),
    Case("minilm", "scifact", 400),
    Case("static", "cranfield", 1400),
    Case("static", "vaswani", 11429),
    Case("static", "scifact", 5183),
)
GPU = (Case("minilm", "vaswani", 11429), Case("minilm", "scifact", 5183))


def main() -> None:
    """Measure all cases and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="a folder with cranfield, vaswani and scifact, as BEIR stores them")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    parsed = parser.parse_args()
    found = []
    with session():
        for case in CPU if parsed.device == "cpu" else GPU:
            with tempfile.TemporaryDirectory() as folder:
                found.append(measured(case, parsed.data, Path(folder), parsed.device, parsed.runs))
            print(json.dumps(found[-1]), flush=True)
    what = "encoding" + ("_gpu" if parsed.device == "cuda" else "")
    rate = matmul_rate(parsed.device)
    result = {"hardware": hardware(), "device": parsed.device, "matmul": rate, "runs": parsed.runs, "cases": found}
    result_path(what, "json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    result_path(what, "md").write_text(markdown(result), encoding="utf-8")


def measured(case: Case, data: Path, folder: Path, device: str, runs: int) -> dict[str, Any]:
    """Return the times of every side, in seconds."""
    lines = (data / case.collection / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[: case.passages]
    stage = Stage(case.model, lines, folder, device)
    texts = [passage(row.get("title"), row["text"]) for row in map(json.loads, lines)]
    theirs, ours = open_model(stage.model, device=device), load_model(stage.model)
    sides: dict[str, Callable[[], Any]] = {"encode": lambda: theirs.encode_document(texts, show_progress_bar=False)}
    if case.model == "static":
        sides["encode, 1024"] = lambda: theirs.encode_document(texts, batch_size=1024, show_progress_bar=False)
    sides |= {
        "loop": lambda: encode_texts(ours, texts, "docs"),
        "loop, stored": lambda: stage.bare(ours),
        "stage, tenth": lambda: stage("tenth"),
        "stage": lambda: stage("whole"),
    }
    for name in ("encode", "loop"):  # warm up
        sides[name]()
    stage("tenth")
    apart = float(np.abs(sides["loop"]() - sides["encode"]()).max())
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            torch.set_num_threads(cores())
            started = time.monotonic()
            side()
            seconds[name].append(time.monotonic() - started)
    seconds["stage, beyond"] = [
        (whole - tenth) / 0.9 for whole, tenth in zip(seconds["stage"], seconds["stage, tenth"], strict=True)
    ]
    return {
        "model": case.model,
        "collection": case.collection,
        "passages": len(texts),
        "tokens": tokens(theirs, texts),
        "parameters": linear(theirs),
        "difference": apart,
        "seconds": seconds,
    }


class Stage:
    """Encodes a collection, or a tenth of it, through Ray, without cached artifacts."""

    def __init__(self, model: str, lines: list[str], folder: Path, device: str) -> None:
        from gradret.stages.base import base
        from gradret.stages.ingest import ingest

        tenth = lines[::10]
        self.configs = {name: config(name, folder, rows, device) for name, rows in (("whole", lines), ("tenth", tenth))}
        self.ingested = {name: ingest(each) for name, each in self.configs.items()}
        whole = self.configs["whole"]
        encoder = whole.label.teacher.encoder if model == "minilm" else whole.train.encoder
        self.made = base(whole, self.ingested["whole"], encoder)
        self.model = self.made.path / "model"

    def __call__(self, name: str) -> None:
        from gradret.stages.encode import encode

        shutil.rmtree(encode(self.configs[name], self.made, self.ingested[name], "docs").path)

    def bare(self, model: SentenceTransformer) -> None:
        """Encodes a stored collection in this process, without Ray, with a loaded model."""
        with tempfile.TemporaryDirectory() as folder:
            for number, shard in enumerate(self.ingested["whole"].shards("docs")):
                rows = read_shard(shard, "docs")
                columns = rows["title"].to_pylist(), rows["text"].to_pylist()
                texts = [passage(*row) for row in zip(*columns, strict=True)]
                vectors = pa.FixedSizeListArray.from_arrays(*flat(encode_texts(model, texts, "docs")))
                table = pa.table({"id": rows["doc_id"], "vector": vectors.cast(pa.list_(pa.float32()))})
                write_shard(Path(folder) / f"part-{number:05d}.parquet", table, "vectors")


def flat(vectors: np.ndarray) -> tuple[pa.Array, int]:
    """Return all numbers in one array, and the dimension of a vector."""
    return pa.array(vectors.ravel()), vectors.shape[1]


def config(name: str, folder: Path, lines: list[str], device: str) -> Config:
    """Return the config of a collection with ``lines``."""
    data = folder / name
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    first = json.loads(lines[0])
    (data / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": first["text"][:50]}) + "\n", encoding="utf-8")
    (data / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq\t{first['_id']}\t1\n", encoding="utf-8")
    return parse(
        {
            "name": name,
            "storage_path": str(folder / "storage"),
            "dataset": {"name": "beir", "path": str(data)},
            "label": {"teacher": {"name": "fusion", "encoder": {"name": "pretrained", "precision": "float32"}}},
            "encode": {"resources": {"gpus": 1 if device == "cuda" else 0}},
        }
    )


def tokens(model: SentenceTransformer, texts: list[str]) -> int:
    """Return the number of tokens that the model reads, without padding."""
    tokenizer = model.tokenizer
    if hasattr(tokenizer, "encode_batch"):
        return sum(len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False))
    rows = tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    return sum(map(len, rows))


def linear(model: SentenceTransformer) -> int:
    """Return the number of parameters of the linear layers."""
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


def matmul_rate(device: str) -> float:
    """Operations per second of a square float32 linear layer with gradret's matrix product; best of five."""
    size = {"cpu": 2048, "cuda": 8192}[device]
    layer, matrix = torch.nn.Linear(size, size, device=device), torch.randn(size, size, device=device)
    pack(layer)
    seconds = []
    with torch.inference_mode():
        for _ in range(5):
            started = time.monotonic()
            layer(matrix)
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.monotonic() - started)
    return 2 * size**3 / min(seconds)


def markdown(result: dict[str, Any]) -> str:
    """Format the result file."""
    command = "python -m benchmarks.encoding DATA" + (" --device cuda" if result["device"] == "cuda" else "")
    lines = [
        "# Encoding against SentenceTransformer.encode",
        "",
        f"{result['hardware']}; on {result['device']}. Command: `{command}`.",
        f"float32 on all cores; medians (fastest to slowest) of {result['runs']} runs, with alternating sides.",
        "`encode` is sentence-transformers; `loop` is gradret in the same process; `loop, stored` also reads a stored",
        "collection and writes vectors; `stage` does the same through Ray. `stage, beyond` excludes start-up: the time",
        "for all passages minus the time for a tenth, divided by 0.9. `times` is the speed relative to the fastest",
        "`encode` row, and for `stage, beyond` relative to `loop, stored`. `share` is 2 x tokens x parameters of",
        f"linear layers per second, relative to a plain matrix product at {result['matmul'] / 1e9:.0f} Gflop/s.",
    ]
    for case in result["cases"]:
        middle = {name: statistics.median(runs) for name, runs in case["seconds"].items()}
        best = min(seconds for name, seconds in middle.items() if name.startswith("encode"))
        lines += [
            "",
            f"## {case['model']}, {case['collection']}: {case['passages']:,} passages, {case['tokens']:,} tokens",
            "",
            f"Vectors differ by at most {case['difference']:.1e}.",
            "",
            "| side | seconds | passages/s | tokens/s | share | times |",
            "|---" * 6 + "|",
        ]
        for name, seconds in middle.items():
            against = middle["loop, stored"] if name == "stage, beyond" else best
            share = 2 * case["tokens"] * case["parameters"] / seconds / result["matmul"]
            runs = case["seconds"][name]
            cells = [
                name,
                f"{seconds:.3g} ({min(runs):.3g}-{max(runs):.3g})",
                *([""] * 3 if name == "stage, tenth" else rates(case, seconds, share)),
                "" if name in ("stage, tenth", "stage") else f"{against / seconds:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rates(case: dict[str, Any], seconds: float, share: float) -> list[str]:
    """Return passages and tokens per second, and the share of a matrix product's rate."""
    shown = f"{share:.0%}" if case["parameters"] else ""
    return [f"{case['passages'] / seconds:,.0f}", f"{case['tokens'] / seconds:,.0f}", shown]


if __name__ == "__main__":
    main()
