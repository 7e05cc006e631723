"""Build and search an index of millions of vectors on Ray, compared with FAISS in one process.

    python -m benchmarks.index_scale [--sizes 250000,1000000,2000000] [--queries N] [--rounds N]

For each number of vectors (``benchmarks/clustered.py``), ``Flat`` and ``IVFn,PQ48x8`` are built over four shards and
searched for the first 100 documents through Ray actors; the time includes ids, exact scores and writing the run. The
baselines are FAISS in a separate process with the same index in one part and as many threads, and FAISS with as many
exactly scored candidates (``IndexRefine``). Sides alternate. A separate search measures the memory of every process.
Writes ``benchmarks/results/index_scale_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.clustered import BLOCK, DIMENSION, SEED, query_vectors, vectors_of
from benchmarks.hardware import hardware, result_path
from benchmarks.index_tables import markdown
from benchmarks.tree_memory import pss
from gradret.config.resources import Workers
from gradret.config.run import Config, Index, Search
from gradret.datasets.pydocs import Pydocs
from gradret.search.recall import recall
from gradret.search.searcher import Searcher
from gradret.search.shards import MARGIN
from gradret.search.vectors import as_matrix
from gradret.stages.index import build
from gradret.store.artifacts import Artifact, Draft, make, write_shard
from gradret.work.session import cores, session

SHARDS, K, QUERY_BLOCK = 4, 100, 512
LISTS = {250_000: 2048, 1_000_000: 4096, 2_000_000: 4096}


def main() -> None:
    """Measure all sizes and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="250000,1000000,2000000")
    parser.add_argument("--kinds", default="flat,ivfpq")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5, help="rounds at the largest size; other sizes have one")
    parser.add_argument("--actors", type=int, default=0, help="number of actors for the shards; 0 is gradret's default")
    parser.add_argument("--storage", type=Path, help="keep artifacts here, and resume from them")
    parser.add_argument("--alone", nargs=3, metavar=("VECTORS", "QUERIES", "EMPTY"), help=argparse.SUPPRESS)
    parser.add_argument("--refined", action="store_true", help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.alone:
        alone(*map(Path, parsed.alone), refined=parsed.refined)
    else:
        measure(parsed)


def measure(parsed: argparse.Namespace) -> None:
    """Measure every size and write the result files after each."""
    sizes = [int(size) for size in parsed.sizes.split(",")]
    found: dict[str, Any] = {
        "actors": parsed.actors,
        "hardware": hardware(),
        "cores": cores(),
        "dimension": DIMENSION,
        "shards": SHARDS,
        "k": K,
    }
    found |= {"queries": parsed.queries, "sizes": []}
    with tempfile.TemporaryDirectory() as temporary, session():
        for size in sizes:
            storage = parsed.storage or Path(temporary)
            rounds = parsed.rounds if size == max(sizes) else 1
            search = Search(K, resources=Workers(actors=parsed.actors))
            found["sizes"].append(one_size(storage, size, parsed.queries, rounds, parsed.kinds.split(","), search))
            result_path("index_scale", "json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            result_path("index_scale", "md").write_text(markdown(found), encoding="utf-8")
            if not parsed.storage:
                shutil.rmtree(storage / "artifacts")


def one_size(storage: Path, size: int, queries: int, rounds: int, kinds: list[str], search: Search) -> dict[str, Any]:
    """Measure both index types over the first ``size`` vectors."""
    vectors, asked = generated(storage, size), query_vectors(size, queries)
    np.save(storage / "queries.npy", asked)
    measured: dict[str, Any] = {"vectors": size}
    exact: pa.Table | None = None
    factories = {"flat": "Flat", "ivfpq": f"IVF{LISTS.get(size, 256)},PQ48x8"}
    for kind in kinds:
        one, run = one_index(storage, factories[kind], vectors, asked, rounds, search)
        exact = run if kind == "flat" else exact
        if exact is not None and kind != "flat":
            one["recall@10"], one[f"recall@{K}"] = recall(run, exact, 10), recall(run, exact, K)
            one["half"][f"recall@{K}"] = recall(one["half"].pop("run"), exact, K)
            for peer in (one["alone"], one["refined"]):
                peer[f"recall@{K}"] = recall(peer.pop("run"), exact, K)
        elif exact is not None:
            one["same_as_alone"] = recall(one["alone"].pop("run"), exact, K)
        for peer in (one["alone"], one["refined"]):
            peer.pop("run", None)
        measured[kind] = one
        print(size, kind, json.dumps(one), flush=True)
    return measured


def one_index(
    storage: Path, factory: str, vectors: Artifact, asked: np.ndarray, rounds: int, search: Search
) -> tuple[dict[str, Any], pa.Table]:
    """Return the time and memory of building and searching, and the RUN."""
    config = Config("scale", Pydocs(), str(storage), index=Index(factory, SHARDS), search=search)
    with watched() as built_memory:
        started = time.perf_counter()
        index = build(config, vectors, vectors)
        seconds = time.perf_counter() - started
    searcher = Searcher(index, config.search, K)
    half: dict[str, Any] = {"seconds": []}
    ours: list[float] = []
    theirs: list[float] = []
    refined: dict[str, Any] = {"seconds": []}
    try:
        parameters = started_parameters(searcher)
        beside = Alone(vectors, storage, index, parameters)
        like_ours = Alone(vectors, storage, index, parameters, refined=True) if parameters else None
        for _ in range(rounds):
            one, run = search_once(searcher, asked, storage / "runs")
            ours.append(one)
            theirs.append(beside.search())
            if like_ours:
                refined["seconds"].append(like_ours.search())
        if like_ours:
            refined["run"] = like_ours.close()["run"]
        if parameters:
            half |= halved(index, config, parameters, asked, storage, rounds)
        # In a separate search, because sampling memory takes part of a core.
        with watched(beside.process.pid) as memory:
            search_once(searcher, asked, storage / "runs")
        other = beside.close()
    finally:
        searcher.close()
    ratio = statistics.median(theirs) / statistics.median(ours)
    found = {
        "factory": factory,
        "parameters": parameters,
        "build_seconds": seconds,
        "train_seconds": index.manifest["notes"].get("train_seconds"),
        "bytes": index.manifest["notes"]["bytes"],
        "plan": index.manifest["notes"]["plan"],
        "build_memory": built_memory,
        "seconds": ours,
        "throughput_ratio": ratio,
        "ratios": [their / our for our, their in zip(ours, theirs, strict=True)],
        "memory": memory,
        "half": half,
        "refined": refined,
        "alone": {"seconds": theirs, "add_seconds": other["add_seconds"], "run": other["run"]},
    }
    return found, run


def halved(
    index: Artifact, config: Config, parameters: str, asked: np.ndarray, storage: Path, rounds: int
) -> dict[str, Any]:
    """Search with half of nprobe, which exact scores may compensate."""
    fewer = f"nprobe={int(parameters.partition('=')[2]) // 2}"
    searcher = Searcher(index, dataclasses.replace(config.search, parameters=fewer), K)
    try:
        started_parameters(searcher)
        done = [search_once(searcher, asked, storage / "runs") for _ in range(rounds)]
    finally:
        searcher.close()
    return {"parameters": fewer, "seconds": [seconds for seconds, _ in done], "run": done[-1][1]}


def started_parameters(searcher: Searcher) -> str:
    """Return the search parameters, after every actor has loaded its shards."""
    import ray

    parameters: list[str] = ray.get([actor.parameters.remote() for actor in searcher.actors])
    return parameters[0]


def search_once(searcher: Searcher, asked: np.ndarray, folder: Path) -> tuple[float, pa.Table]:
    """Return the seconds to search all queries and write the run, and the run."""
    shutil.rmtree(folder, ignore_errors=True)
    ids = query_ids(len(asked))
    blocks = (
        (at, ids.slice(at, QUERY_BLOCK), asked[at : at + QUERY_BLOCK]) for at in range(0, len(asked), QUERY_BLOCK)
    )
    started, tables = time.perf_counter(), []
    for number, run in searcher.run(blocks):
        write_shard(folder / f"part-{number:05d}.parquet", run.table, "run")
        tables.append(run.table)
    return time.perf_counter() - started, pa.concat_tables(tables)


class Alone:
    """FAISS in a separate process that searches on request; ``refined`` also keeps the vectors."""

    def __init__(
        self, vectors: Artifact, storage: Path, index: Artifact, parameters: str, *, refined: bool = False
    ) -> None:
        self.storage = storage
        empty = index.path / "empty.faiss"
        command = [sys.executable, "-m", "benchmarks.index_scale", *["--refined"] * refined, "--alone"]
        command += [str(vectors.path / "vectors"), str(storage), f"{empty}" if empty.exists() else "Flat"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.add_seconds = float(self._ask(parameters))

    def search(self) -> float:
        """Search; return the seconds."""
        return float(self._ask("search"))

    def close(self) -> dict[str, Any]:
        """Return the seconds of adding vectors, and the results of the last search."""
        self._ask("write")
        self.process.communicate("")
        places = np.load(self.storage / "alone.npy")
        rows = np.repeat(np.arange(len(places)), places.shape[1])
        ranks = np.tile(np.arange(1, places.shape[1] + 1, dtype=np.int32), len(places))
        table = {
            "query_id": query_ids(len(places)).take(pa.array(rows)),
            "doc_id": doc_ids(places.ravel()),
            "rank": pa.array(ranks),
        }
        return {"add_seconds": self.add_seconds, "run": pa.table(table)}

    def _ask(self, line: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


def alone(folder: Path, storage: Path, empty: Path, *, refined: bool) -> None:
    """Keep all vectors in one index, search whenever a line arrives, and print the seconds."""
    import faiss
    import pyarrow.parquet as pq

    faiss.omp_set_num_threads(cores())
    index = faiss.read_index(str(empty)) if empty.exists() else faiss.IndexFlatIP(DIMENSION)
    parameters = sys.stdin.readline().strip()
    exact = faiss.IndexFlatIP(DIMENSION)
    seconds = 0.0
    for path in sorted(folder.glob("part-*.parquet")):
        matrix = np.ascontiguousarray(as_matrix(pq.read_table(path)))
        started = time.perf_counter()
        index.add(matrix)
        seconds += time.perf_counter() - started
        if refined:
            exact.add(matrix)
    if parameters:
        faiss.ParameterSpace().set_index_parameters(index, parameters)
    if refined:
        index = faiss.IndexRefine(index, exact)
        # Add half a candidate, because FAISS truncates k times the factor to a whole number.
        index.k_factor = (K + MARGIN + 0.5) / K
    print(seconds, flush=True)
    asked, places = np.load(storage / "queries.npy"), None
    for line in sys.stdin:
        started = time.perf_counter()
        if line.strip() == "search":
            _, places = index.search(asked, K)
        else:
            np.save(storage / "alone.npy", places)
        print(time.perf_counter() - started, flush=True)


@contextlib.contextmanager
def watched(beside: int = 0) -> Iterator[dict[str, dict[str, float]]]:
    """Peak MiB of each kind of process inside the context: private memory, and resident mapped files."""
    peaks: dict[str, dict[str, float]] = {}
    done = threading.Event()

    def look() -> None:
        own = psutil.Process()
        while not done.wait(0.5):
            for process in [own, *own.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    kind = _kind(process, own.pid, beside)
                    held, mapped = pss(process.pid)
                    peak = peaks.setdefault(kind, {"held": 0.0, "mapped": 0.0, "both": 0.0})
                    for name, value in {"held": held, "mapped": mapped, "both": held + mapped}.items():
                        peak[name] = max(peak[name], round(value * 1024, 1))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()


def _kind(process: psutil.Process, own: int, beside: int) -> str:
    name = " ".join(process.cmdline()[:4])
    if process.pid in (own, beside):
        return "driver" if process.pid == own else "alone"
    if "_ShardActor" in name:
        return "actor"
    return "worker" if "ray::" in name else "ray"


def generated(storage: Path, size: int) -> Artifact:
    """Write VECTORS of ``size`` documents."""

    def body(draft: Draft) -> None:
        for number, matrix in enumerate(vectors_of(size)):
            ids = doc_ids(np.arange(number * BLOCK, number * BLOCK + len(matrix)))
            column = pa.FixedSizeListArray.from_arrays(matrix.ravel(), DIMENSION).cast(pa.list_(pa.float32()))
            draft.write("vectors", pa.table({"id": ids, "vector": column}), number)
        draft.count(rows_out=size)

    settings = {"size": size, "seed": SEED}
    return make("generated", str(storage), module="gradret.text", settings=settings, inputs={}, body=body)


def doc_ids(numbers: np.ndarray) -> pa.Array:
    """Return document ids in the order of ``numbers``."""
    return pa.array([f"d{number:08d}" for number in numbers.tolist()], pa.string())


def query_ids(number: int) -> pa.Array:
    """Return the first query ids."""
    return pa.array([f"q{n:06d}" for n in range(number)], pa.string())


if __name__ == "__main__":
    main()
