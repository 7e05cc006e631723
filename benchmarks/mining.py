"""Mining compared with sentence-transformers' ``mine_hard_negatives``, and the cost of a large BM25 index.

    python -m benchmarks.mining DATA [--rounds N] [--queries N] [--documents N]

DATA contains the BEIR folders. There are three cases: MiniLM on cranfield, a static model with many queries on
vaswani, and the static model on 100,000 generated documents. Both sides get the same model folder, documents,
extractive queries and cores, and retrieve each query's 20 best documents other than its source. Each side is a
separate command; sides alternate, and results are medians. ``gradret mine`` starts Ray, encodes, builds the index,
searches and writes PAIRS. ``mine_hard_negatives`` reads the texts from a file, mines with its defaults or with
``use_faiss``, and its script writes the result. The BM25 index is over generated documents of 60 words. Writes
``benchmarks/results/mining_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.any_size import WORDS, write_collection
from benchmarks.hardware import hardware, result_path
from benchmarks.tree_memory import Peak, run
from gradret.config.loading import load
from gradret.flow import Flow
from gradret.text import passage
from gradret.work.session import session

NEGATIVES = 20
CONFIG = "configs/quickstart.yaml"
PEER, FAISS = "mine_hard_negatives", "mine_hard_negatives, use_faiss"
# Start-up of each side: imports, and Ray.
STARTS = {
    "gradret": "import gradret.cli; from gradret.work.session import connect; connect(); import ray.data",
    PEER: "import datasets, sentence_transformers",
    FAISS: "import datasets, sentence_transformers, faiss",
}


@dataclass(frozen=True)
class Case:
    """A case that both sides mine."""

    name: str
    collection: str
    queries: int
    encoder: str
    documents: int = 0
    """Number of documents to generate; 0 for a collection in DATA."""

    def overrides(self, folder: Path, storage: Path) -> list[str]:
        """Return overrides of the quickstart's config."""
        return [
            "dataset.name=beir",
            f"dataset.path={folder}",
            f"storage_path={storage}",
            f"dedupe.max_docs={self.queries}",
            f"generate.generator.queries={self.queries}",
            f"train.encoder={self.encoder}",
            f"mine.retrievers=[{{name: source}}, {{name: dense, k: {NEGATIVES + 1}}}]",
        ]


CASES = (
    Case("MiniLM", "cranfield", 3000, "{name: pretrained, precision: float32}"),
    Case("static", "vaswani", 20_000, "{name: static}"),
    Case("static", "generated", 20_000, "{name: static, lexical: 0}", 100_000),
)


def main() -> None:
    """Measure all cases and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, help="queries per case; fewer for a trial run")
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)), help="case numbers, from 0")
    parser.add_argument("--documents", type=int, default=1_000_000, help="documents in the BM25 index")
    parsed = parser.parse_args()
    found = []
    for case in (CASES[number] for number in parsed.cases):
        with tempfile.TemporaryDirectory() as folder:
            smaller = replace(case, queries=parsed.queries or case.queries)
            found.append(compare(smaller, parsed.data.absolute(), Path(folder), parsed.rounds))
    with tempfile.TemporaryDirectory() as folder:
        lexical = index_words(Path(folder), parsed.documents)
    whole = {"cases": found, "bm25": lexical}
    result_path("mining", "json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    result_path("mining", "md").write_text(markdown(found, lexical, parsed.rounds), encoding="utf-8")


def compare(case: Case, data: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Return all runs of each side, and the overlap of their results."""
    ready, texts, source = folder / "ready", folder / "texts.json", data / case.collection
    if case.documents:
        source = folder / "data"
        write_collection(source, case.documents)
    with session():
        flow = Flow(load(CONFIG, case.overrides(source, ready)))
        docs, queries = flow.ingest.table("docs").to_pylist(), flow.generate.table("queries").to_pylist()
        model = flow.base.path / "model"
        flow.make("leaks")  # and the stages before it
    passages = {doc["doc_id"]: passage(doc["title"], doc["text"]) for doc in docs}
    held = {
        "corpus": list(passages.values()),
        "queries": [query["text"] for query in queries],
        "positives": [passages[query["source_doc_id"]] for query in queries],
    }
    texts.write_text(json.dumps(held), encoding="utf-8")
    sides: dict[str, list[Peak]] = {name: [] for name in STARTS}
    starts: dict[str, list[Peak]] = {name: [] for name in STARTS}
    for number in range(rounds):
        for place, name in enumerate(STARTS):
            out = folder / f"{number}.{place}"
            if name == "gradret":
                shutil.copytree(ready, out)
                command = ["-m", "gradret.cli", "mine", CONFIG, *case.overrides(source, out)]
            else:
                command = ["-m", "benchmarks.mining_peer", str(model), str(texts), str(out), str(NEGATIVES)]
                command += ["--faiss"] if name == FAISS else []
            starts[name].append(run([sys.executable, "-c", STARTS[name]]))
            sides[name].append(run([sys.executable, *command]))
            print(case.name, name, sides[name][-1], flush=True)
    ours = mined(Flow(load(CONFIG, case.overrides(source, folder / "0.0"))), passages)
    return {
        **asdict(case),
        "documents": len(docs),
        "queries": len(queries),
        "overlap": overlap(ours, folder / "0.1"),
        "sides": {name: [asdict(peak) for peak in peaks] for name, peaks in sides.items()},
        "starts": {name: [asdict(peak) for peak in peaks] for name, peaks in starts.items()},
    }


def mined(flow: Flow, passages: dict[str, str]) -> dict[str, set[str]]:
    """Return the texts of the retrieved documents, by query text."""
    found: dict[str, set[str]] = {}
    texts = {row["query_id"]: row["text"] for row in flow.generate.table("queries").to_pylist()}
    for row in flow.mine.table("pairs", ["query_id", "doc_id"]).to_pylist():
        found.setdefault(texts[row["query_id"]], set()).add(passages[row["doc_id"]])
    return found


def overlap(ours: dict[str, set[str]], peer: Path) -> float:
    """Return the share of the peer's negatives that gradret also retrieves, by text because the peer has no ids."""
    same = total = 0
    for rows in pq.read_table(peer).to_pylist():
        query, _, *negatives = rows.values()
        # gradret does not mine queries that resemble a test query.
        if query in ours:
            same += len(ours[query] & set(negatives))
            total += len(negatives)
    return same / total


def index_words(folder: Path, documents: int) -> dict[str, Any]:
    """Build the BM25 index over generated documents and run 1,000 searches."""
    write_collection(folder / "data", documents)
    overrides = ["dataset.name=beir", f"dataset.path={folder / 'data'}", f"storage_path={folder}"]
    with session():
        Flow(load(CONFIG, overrides)).make("ingest")
    code = (
        "from gradret.flow import Flow; from gradret.config.loading import load\n"
        "from gradret.work.session import session\n"
        "from gradret.retrievers.bm25 import build_bm25\n"
        f"config = load({CONFIG!r}, {overrides!r})\n"
        "with session(): build_bm25(config, Flow(config).ingest, 1.2, 0.75)"
    )
    peak = run([sys.executable, "-c", code])
    from gradret.search.bm25 import Bm25Index, build_bm25

    config = load(CONFIG, overrides)
    flow = Flow(config)
    built = build_bm25(config, flow.ingest, 1.2, 0.75)
    queries = [" ".join(text.split()[:8]) for text in next(flow.ingest.batches("docs"))["text"][:1000].to_pylist()]
    index, started = Bm25Index(built), time.monotonic()
    found = list(index.search(queries, NEGATIVES))
    seconds = time.monotonic() - started
    assert all(doc_ids for doc_ids, _ in found)
    size = sum(path.stat().st_size for path in (built.path / "index").iterdir())
    return {"documents": documents, "GiB": size / 2**30, "build": asdict(peak), "searches": len(queries) / seconds}


def markdown(cases: list[dict[str, Any]], lexical: dict[str, Any], rounds: int) -> str:
    """Format the result file."""
    lines = [
        "# Mining compared with sentence-transformers, and a BM25 index",
        "",
        f"{hardware()}. Command: `python -m benchmarks.mining DATA`.",
        f"Each query's {NEGATIVES} best documents other than its source. Each side is a separate command; sides",
        f"alternate, and values are medians of {rounds} runs. `start` is the time for the command's imports and, for",
        "gradret, the start of Ray, measured separately; `seconds` includes it. GiB is the peak memory of all",
        "processes of a side, sampled every 0.5 s; shared pages count once, pages of mapped files do not count.",
    ]
    for case in cases:
        lines += [
            "",
            f"## {case['name']}, {case['collection']}: {case['documents']:,} documents, {case['queries']:,} queries",
            "",
            f"gradret retrieves {case['overlap']:.2%} of the documents that sentence-transformers retrieves.",
            "",
            "| side | seconds | start | GiB |",
            "|---|---|---|---|",
        ]
        for name, peaks in case["sides"].items():
            seconds, start = (median(one, "seconds") for one in (peaks, case["starts"][name]))
            lines.append(f"| {name} | {seconds:.1f} | {start:.1f} | {median(peaks, 'total'):.2f} |")
    build = lexical["build"]
    lines += [
        "",
        f"## BM25 index of {lexical['documents']:,} documents of {WORDS} words",
        "",
        f"Built in {build['seconds']:.0f} s. Peak memory in GiB: driver {build['driver']:.2f}, largest worker",
        f"{build['worker']:.2f}, all processes at one moment {build['total']:.2f}. The memory-mapped index has",
        f"{lexical['GiB']:.2f} GiB. One core runs {lexical['searches']:.0f} searches of 8 words per second.",
    ]
    return "\n".join(lines) + "\n"


def median(peaks: list[dict[str, float]], key: str) -> float:
    """Return the median of ``key`` over the runs."""
    return statistics.median(peak[key] for peak in peaks)


if __name__ == "__main__":
    main()
