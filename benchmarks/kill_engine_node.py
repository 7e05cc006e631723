"""Recovery of a stage that asks two vLLM engines, when the node of one engine is killed.

    python -m benchmarks.kill_engine_node

A Ray cluster of three nodes runs on this machine: a head for the tasks, and two nodes with an engine each. One of
these two is killed after both engines have answered. In the end, every prompt must have exactly one answer; exits 1
otherwise. Writes ``benchmarks/results/kill_engine_node_<hardware>_<date>.md``.
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

from benchmarks.engines import tree_of, write_collection
from benchmarks.hardware import hardware, result_path
from gradret.config.loading import parse
from gradret.datasets._stdlib import documents
from gradret.flow import Flow
from tests.engines import tiny_llm

ROWS = 600


def main() -> int:
    """Run the stage, kill a node, and count the answers."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        docs = [doc for doc, _ in zip(documents(), range(ROWS), strict=False)]
        model = tiny_llm.write(folder / "model", texts=[doc["text"] for doc in docs], vocabulary=4000)
        tree = tree_of(model, write_collection(folder / "data", docs), folder / "storage")
        tree["generate"]["generator"]["engine"]["resources"]["engines"] = 2
        flow = Flow(parse(tree))
        rows = flow.dedupe.table("sample").num_rows
        killed: list[int] = []
        threading.Thread(target=kill, args=(cluster, nodes[0], folder / "storage", killed), daemon=True).start()
        started = time.monotonic()
        made = flow.generate
        seconds = time.monotonic() - started
        answered = made.table("answers")["prompt_id"].to_pylist()
        counts = made.counts
    ray.shutdown()
    cluster.shutdown()
    whole = len(answered) == len(set(answered)) == rows == counts["rows_in"]
    whole = whole and counts["rows_in"] == counts["rows_out"] + counts["quarantined"] and bool(killed)
    result_path("kill_engine_node", "md").write_text(
        f"# An engine's node is killed\n\n{hardware()}. Command: `python -m benchmarks.kill_engine_node`.\n"
        f"Two vLLM engines (CPU build, a random model) on a node each; one node was killed after {killed[0]:,} of "
        f"{rows:,} answers.\nEvery prompt has exactly one answer and the counts reconcile: "
        f"**{'yes' if whole else 'NO'}**. "
        f"The stage took {seconds:.0f} s.\n",
        encoding="utf-8",
    )
    return 0 if whole else 1


def kill(cluster: Any, node: Any, storage: Path, killed: list[int]) -> None:
    """Kill the node after some blocks are answered."""
    while len(files := list(storage.glob("artifacts/generate/*/work/answers/*/*.parquet"))) < 4:
        time.sleep(0.1)
    killed.append(32 * len(files))
    cluster.remove_node(node, allow_graceful=False)


if __name__ == "__main__":
    sys.exit(main())
