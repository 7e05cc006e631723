"""Evaluation of a large corpus, from JSON lines to metrics: time and memory of every stage.

    python -m benchmarks.evaluate_scale [--documents N] [--queries N] [--storage FOLDER]

Documents are generated as in ``benchmarks.any_size``. A query is eight words of a randomly drawn document, which is its
only relevant document. The static encoder encodes them, and the search is exact over four shards. Every stage runs in
a separate process and reuses the artifacts of the stages before; the last process is ``gradret evaluate`` over all of
them. Writes ``benchmarks/results/evaluate_scale_<hardware>_<date>.{md,json}``; exits 1 if a driver used 2 GiB or more.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.any_size import counts_of, write_collection
from benchmarks.hardware import hardware, result_path
from benchmarks.tree_memory import Peak, run
from gradret.config.evaluation import load_evaluation
from gradret.stages.base import base
from gradret.stages.encode import encode
from gradret.stages.index import index
from gradret.stages.ingest import ingest
from gradret.stages.queries import queries
from gradret.stages.search import search
from gradret.store.artifacts import Artifact
from gradret.work.session import session

STAGES = ("ingest", "queries", "base", "encode", "index", "search", "evaluate")
SHARDS, WORDS, SEED, LIMIT = 4, 8, 0, 2.0
CONFIG = """name: scale
storage_path: {storage}
datasets:
  generated: {{name: beir, path: {storage}/data}}
systems:
  static: {{encoder: {{name: static, lexical: 0}}}}
index: {{num_shards: {shards}}}
evaluate: {{measures: [nDCG@10, Recall@100, Recall@1000]}}
"""


def main() -> int:
    """Write the collection, run the stages and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=2_000_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--storage", type=Path, help="keep artifacts here, and resume from them")
    parser.add_argument("--stage", choices=STAGES[:-1], help="run only this stage, with the storage's config")
    parsed = parser.parse_args()
    if parsed.stage:
        with session():
            one_stage(parsed.storage / "evaluate.yaml", parsed.stage)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        storage = (parsed.storage or Path(temporary)).absolute()
        return measure(storage, parsed.documents, parsed.queries)


def measure(storage: Path, documents: int, wanted: int) -> int:
    """Run every stage in a separate process."""
    config = storage / "evaluate.yaml"
    if not config.exists():
        write_collection(storage / "data", documents)
        write_queries(storage / "data", documents, wanted)
        config.write_text(CONFIG.format(storage=storage, shards=SHARDS), encoding="utf-8")
    peaks: dict[str, Peak] = {}
    counts: dict[str, dict[str, int]] = {}
    for stage in STAGES:
        own = [sys.executable, "-m", "benchmarks.evaluate_scale", "--storage", str(storage), "--stage", stage]
        whole = [sys.executable, "-m", "gradret.cli", "evaluate", str(config)]
        peaks[stage] = run(whole if stage == "evaluate" else own)
        counts[stage] = counts_of(storage, stage)
        print(stage, asdict(peaks[stage]), counts[stage], flush=True)
    metrics = json.loads((storage / "evaluations" / "scale" / "metrics.json").read_text(encoding="utf-8"))
    found = {
        "documents": documents,
        "queries": wanted,
        "metrics": metrics["mean"]["static"],
        "stages": {stage: asdict(peak) | {"counts": counts[stage]} for stage, peak in peaks.items()},
    }
    result_path("evaluate_scale", "json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table = markdown(storage, found, peaks)
    result_path("evaluate_scale", "md").write_text(table, encoding="utf-8")
    print(table)
    return int(max(peak.driver for peak in peaks.values()) >= LIMIT)


def one_stage(path: Path, stage: str) -> None:
    """Run a stage, reusing the artifacts of earlier stages."""
    evaluation = load_evaluation(path)
    config = evaluation.config("generated", evaluation.systems["static"].encoder)
    made: dict[str, Artifact] = {}
    steps: dict[str, Callable[[], Artifact]] = {
        "ingest": lambda: ingest(config),
        "queries": lambda: queries(config, made["ingest"]),
        "base": lambda: base(config, made["ingest"]),
        "encode": lambda: encode(config, made["base"], made["ingest"], "docs"),
        "index": lambda: index(config, made["base"], made["ingest"]),
        "search": lambda: search(config, made["base"], made["index"], made["queries"]),
    }
    for name, step in steps.items():
        made[name] = step()
        if name == stage:
            return


def write_queries(folder: Path, documents: int, wanted: int) -> None:
    """Write queries and judgments: eight words of a document in their order, and the document's id."""
    draw = np.random.default_rng(SEED)
    chosen = set(np.linspace(0, documents - 1, wanted).astype(int).tolist())
    with (
        (folder / "corpus.jsonl").open(encoding="utf-8") as corpus,
        (folder / "queries.jsonl").open("w", encoding="utf-8") as texts,
        (folder / "qrels" / "test.tsv").open("w", encoding="utf-8") as judged,
    ):
        judged.write("query-id\tcorpus-id\tscore\n")
        for number, line in enumerate(corpus):
            if number in chosen:
                doc = json.loads(line)
                words = doc["text"].rstrip(".").split()
                places = np.sort(draw.choice(len(words), size=WORDS, replace=False))
                query = {"_id": f"q{number:08d}", "text": " ".join(words[place] for place in places)}
                texts.write(json.dumps(query) + "\n")
                judged.write(f"{query['_id']}\t{doc['_id']}\t1\n")


def markdown(storage: Path, found: dict, peaks: dict[str, Peak]) -> str:
    """Format the result file."""
    size = sum(path.stat().st_size for path in (storage / "artifacts").rglob("*") if path.is_file()) / 2**30
    corpus = (storage / "data" / "corpus.jsonl").stat().st_size / 2**30
    quality = ", ".join(f"{measure} {value:.4f}" for measure, value in found["metrics"].items())
    lines = [
        f"# {found['queries']:,} queries over {found['documents']:,} documents, from JSON lines to metrics",
        "",
        f"{hardware()}. Command: `python -m benchmarks.evaluate_scale`.",
        f"Generated documents of 60 words ({corpus:.2f} GiB of JSON lines); static encoder, 384 dimensions, exact",
        f"search over {SHARDS} shards. Every stage runs in a separate process and includes the start of Ray;",
        "`evaluate` is `gradret evaluate` over the other stages' artifacts, with its report. Memory is the peak in",
        "GiB, sampled every 0.5 s: driver, largest worker, all workers with Ray's object store, Ray's processes, and",
        "all processes at one moment. `mapped` is file-backed memory, which the kernel can reclaim.",
        f"The artifacts take {size:.2f} GiB. {quality}.",
        "",
        "| stage | seconds | driver | worker | workers | Ray | all | mapped |",
        "|---" * 8 + "|",
    ]
    for stage, peak in peaks.items():
        sizes = (peak.driver, peak.worker, peak.workers, peak.ray, peak.total, peak.mapped)
        lines.append(f"| {stage} | {peak.seconds:.0f} | {' | '.join(f'{size:.2f}' for size in sizes)} |")
    total = sum(peak.seconds for peak in peaks.values())
    return "\n".join([*lines, f"| all | {total:.0f} | | | | | | |"]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
