"""Recovery of mining and labelling on a cluster, when a node is killed during each of them.

    python -m benchmarks.kill_mining_node

A Ray cluster of three nodes runs on this machine. In each of the two stages a node is killed after the first shards are
done. PAIRS, LABELS and GROUPS must equal those of an uninterrupted run; exits 1 otherwise. Writes
``benchmarks/results/kill_mining_node_<hardware>_<date>.md``.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from benchmarks.any_size import write_collection
from benchmarks.hardware import hardware, result_path
from gradret.config.loading import load
from gradret.flow import Flow

DOCUMENTS, QUERIES = 20_000, 20_000
TABLES = {"mine": "pairs", "label": "labels", "select": "groups"}


def main() -> int:
    """Run the stages without and with kills, and compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_collection(folder / "data", DOCUMENTS)
        quiet = tables(folder / "data", folder / "quiet", killer=False)
        killed = tables(folder / "data", folder / "killed", killer=True)
    same = all(quiet[stage].equals(killed[stage]) for stage in TABLES) and len(killed["killed"]) == 2
    result_path("kill_mining_node", "md").write_text(
        f"# Nodes are killed while mine and label run\n\n{hardware()}. "
        "Command: `python -m benchmarks.kill_mining_node`.\n"
        f"Three Ray nodes on this machine, {QUERIES:,} queries over {DOCUMENTS:,} documents; nodes killed: "
        f"{' and '.join(killed['killed'])}.\nPAIRS, LABELS and GROUPS equal those of an undisturbed run: "
        f"**{'yes' if same else 'NO'}**. Seconds of the stages: {killed['seconds']}, undisturbed {quiet['seconds']}.\n",
        encoding="utf-8",
    )
    return 0 if same else 1


def tables(data: Path, storage: Path, *, killer: bool) -> dict[str, Any]:
    """Return the tables that the stages wrote."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    overrides = [
        "dataset.name=beir",
        f"dataset.path={data}",
        f"storage_path={storage}",
        f"generate.generator.queries={QUERIES}",
        "train.encoder.lexical=0",
        "mine.retrievers=[{name: source}, {name: bm25, k: 20}, {name: dense, k: 20}]",
        "mine.resources.actors=3",
        "label.teacher={name: bi_encoder}",
        "label.resources.actors=3",
        "check.queries=0",
    ]
    flow = Flow(load("configs/quickstart.yaml", overrides))
    found: dict[str, Any] = {"killed": [], "seconds": {}}
    flow.make("generate")
    for stage, node in zip(("mine", "label"), nodes, strict=True):
        if killer:
            arguments = (cluster, node, storage, stage, found["killed"])
            threading.Thread(target=kill, args=arguments, daemon=True).start()
        made = getattr(flow, stage)
        found["seconds"][stage] = round(made.manifest["seconds"], 1)
    found |= {stage: getattr(flow, stage).table(table) for stage, table in TABLES.items()}
    ray.shutdown()
    cluster.shutdown()
    return found


def kill(cluster: Any, node: Any, storage: Path, stage: str, killed: list[str]) -> None:
    """Kill the node after two shards are done."""
    while len(done := list(storage.glob(f"artifacts/{stage}/*/work/part-*.json"))) < 2:
        time.sleep(0.02)
    killed.append(f"one after {len(done)} shards of {stage}")
    cluster.remove_node(node, allow_graceful=False)


if __name__ == "__main__":
    sys.exit(main())
