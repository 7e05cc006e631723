"""The same labelling work on more and more nodes of one CPU: efficiency, and where it is lost.

    python -m benchmarks.label_nodes DATA [--queries 100] [--runs 3]

DATA is a BEIR folder. The pairs are its queries with 20 documents each from BM25, in shards of SHARD queries; the
teacher is a random cross-encoder of MiniLM's size, one thread a node. A Ray cluster on this machine has a head without
CPUs and 1, 2 or 4 nodes of one CPU, each pinned to a core. One and two nodes run the model. On all, a worker that
sleeps for the time that the same shard took the model on one node stands in for it, so that nodes do not share cores;
on few nodes both are measured, which shows how far the stand-in holds.

Efficiency is the time that the shards take one node, by nodes, against the time of the stage. What is lost is split
into the time until the first shard begins, the mean time that a node has nothing left to do while others work, and the
rest: gaps between shards, and writing the artifact. Sides alternate; medians of RUNS runs.
Writes ``benchmarks/results/label_nodes_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.hardware import hardware, result_path
from gradret.config.loading import parse
from gradret.teachers.cross_encoder import CrossEncoder

if TYPE_CHECKING:
    import numpy as np

    from gradret.store.artifacts import Artifact

REAL, NODES, K, SHARD = (1, 2), (1, 2, 4), 20, 5


@dataclass(frozen=True)
class Logged(CrossEncoder):
    """A cross-encoder whose graders note when they scored what; or that sleeps for as long as was noted."""

    log: str = ""
    recorded: str = ""
    """A file with the seconds of each shard, by its first query; the model is not run then."""

    def load(self, prepared: dict[str, Artifact]) -> Any:
        return _Grader(self, None if self.recorded else super().load(prepared))


class _Grader:
    def __init__(self, teacher: Logged, grader: Any) -> None:
        self.grader, self.log = grader, Path(teacher.log)
        self.recorded = json.loads(Path(teacher.recorded).read_text()) if teacher.recorded else {}

    def score(self, queries: Sequence[dict[str, Any]], doc_ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
        import numpy as np

        first, begun = queries[0]["query_id"], time.time()
        if self.grader:
            scores = self.grader.score(queries, doc_ids)
        else:
            time.sleep(self.recorded[first])
            scores = [np.zeros(len(ids), np.float32) for ids in doc_ids]
        line = {"shard": first, "worker": os.getpid(), "begun": begun, "ended": time.time()}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return scores


@dataclass
class Run:
    """One run of the stage, in seconds."""

    nodes: int
    recorded: bool
    stage: float
    shards: float
    """All shards together."""
    start: float
    """Until the first shard begins."""
    idle: float
    """Mean time that a node has nothing left to do."""

    def efficiency(self, alone: float) -> float:
        """The share of the nodes' time that ``alone``, the work of one node, takes."""
        return alone / (self.nodes * self.stage)

    @property
    def rest(self) -> float:
        return self.stage - self.start - self.idle - self.shards / self.nodes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(asked.runs):
            for nodes in NODES:
                with cluster(nodes):
                    for recorded in (False, True) if nodes in REAL else (True,):
                        runs.append(measured(asked, folder, nodes, recorded=recorded))
                        print(runs[-1], file=sys.stderr, flush=True)
    write(asked, runs)


@contextmanager
def cluster(nodes: int) -> Iterator[None]:
    """A Ray cluster of a head without CPUs and ``nodes`` of one."""
    import ray
    from ray.cluster_utils import Cluster

    from gradret.work.session import connect

    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 waits for any other process
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for number in range(nodes):
        pin(started.add_node(num_cpus=1), number)
    os.environ["RAY_ADDRESS"] = started.address
    connect()
    try:
        yield
    finally:
        ray.shutdown()
        started.shutdown()


def pin(node: Any, number: int) -> None:
    """Let a node's processes, and those that they start, see one core."""
    cores = sorted(os.sched_getaffinity(0))
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    for process in (raylet, *raylet.children(recursive=True)):
        process.cpu_affinity([cores[number % len(cores)]])


def measured(asked: argparse.Namespace, folder: Path, nodes: int, *, recorded: bool) -> Run:
    """Run the stage once; the first run on one node leaves the cost of every shard."""
    from benchmarks import labelling

    model, log, costs = folder / "model", folder / "log.jsonl", folder / "costs.json"
    if not model.exists():
        labelling.write_model(model)
    log.unlink(missing_ok=True)
    teacher = {"name": "benchmarks.label_nodes:Logged", "model": str(model), "log": str(log)}
    if recorded:
        teacher["recorded"] = str(costs)
    tree = {
        "name": "label_nodes",
        "storage_path": str(folder / "storage"),
        "dataset": {"name": "beir", "path": str(asked.data)},
        "label": {"teacher": teacher},
    }
    world = labelling.World(parse(tree), K, asked.queries, SHARD)
    world.label(nodes * SHARD)  # processes start, and import what they need
    log.unlink()
    begun = time.time()
    world.label(asked.queries)
    stage = time.time() - begun
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    seconds = {line["shard"]: line["ended"] - line["begun"] for line in lines}
    if not costs.exists():
        costs.write_text(json.dumps(seconds))
    last = max(line["ended"] for line in lines)
    ends = {line["worker"]: max(each["ended"] for each in lines if each["worker"] == line["worker"]) for line in lines}
    idle = (sum(last - end for end in ends.values()) + (nodes - len(ends)) * (last - begun)) / nodes
    start = min(line["begun"] for line in lines) - begun
    return Run(nodes, recorded, stage, sum(seconds.values()), start, idle)


def write(asked: argparse.Namespace, runs: list[Run]) -> None:
    """The table of medians, and all runs."""
    groups = {
        (nodes, recorded): [run for run in runs if (run.nodes, run.recorded) == (nodes, recorded)]
        for recorded in (False, True)
        for nodes in NODES
    }
    alone = statistics.median(run.shards for run in groups[1, False])
    lines = [
        f"# Labelling on 1 to {NODES[-1]} nodes of one CPU, {asked.queries * K:,} pairs of {asked.data.name}",
        "",
        f"{hardware()}. Medians of {asked.runs} alternating runs. Command:",
        f"`python -m benchmarks.label_nodes {asked.data.name} {' '.join(sys.argv[2:])}`.".replace(" `", "`"),
        "A random cross-encoder of MiniLM's size, workers warm.",
        f"The {asked.queries // SHARD} shards of {SHARD * K} pairs take one node {alone:.1f} s.",
        "`recorded` sleeps for what each shard took the model on one node. In seconds: the stage; until the first",
        "shard begins; the mean time that a node has nothing left to do; gaps between shards and writing the artifact.",
        "",
        "| nodes | work | stage | start | idle at the end | rest | efficiency |",
        "|---|---|---|---|---|---|---|",
    ]
    for (nodes, recorded), group in groups.items():
        if group:
            parts = [[run.stage, run.start, run.idle, run.rest, run.efficiency(alone)] for run in group]
            numbers = " | ".join(f"{statistics.median(part):.2f}" for part in zip(*parts, strict=True))
            lines.append(f"| {nodes} | {'recorded' if recorded else 'model'} | {numbers} |")
    text = "\n".join(lines) + "\n"
    result_path("label_nodes", "md").write_text(text, encoding="utf-8")
    result_path("label_nodes", "json").write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
