"""Recovery of a training whose worker and then whose node is killed.

    python -m benchmarks.kill_node

A Ray cluster of three nodes runs on this machine: a head without CPUs, and two nodes that can run the training's
worker. The worker is killed (-9) after step 6, and the node of its successor after step 14. Weights and training curve
must equal those of an uninterrupted training, byte for byte; exits 1 otherwise. Writes
``benchmarks/results/kill_node_<hardware>_<date>.md``.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from benchmarks.hardware import hardware, result_path
from gradret.config.resources import TrainResources
from gradret.config.run import Config
from gradret.config.train import Train
from gradret.datasets.beir import Beir
from gradret.encoders.transformer import Transformer
from gradret.stages.train import train
from tests.stages import outside, test_train, tiny

KILLS = ((6, "worker"), (14, "node"))


def main() -> int:
    """Train twice and compare."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    killed: list[tuple[str, int]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole = trained(folder / "whole")
        disturb = threading.Thread(target=kill, args=(cluster, nodes, folder / "disturbed", killed), daemon=True)
        disturb.start()
        started = time.monotonic()
        disturbed = trained(folder / "disturbed", seconds=0.1)
        seconds = time.monotonic() - started
        same = content(whole) == content(disturbed)
    ray.shutdown()
    cluster.shutdown()
    result_path("kill_node", "md").write_text(
        f"# A killed worker and a killed node\n\n{hardware()}. Command: `python -m benchmarks.kill_node`.\n"
        f"A transformer with dropout, 30 steps; killed: "
        f"{', '.join(f'the {what} after step {step}' for what, step in killed)}.\n"
        f"Weights and curve equal those of an undisturbed training byte for byte: **{'yes' if same else 'NO'}**. "
        f"The disturbed training took {seconds:.0f} s.\n",
        encoding="utf-8",
    )
    return int(not (same and [what for what, _ in killed] == ["worker", "node"]))


def trained(storage: Path, **losses: Any) -> Path:
    """Train a small student on one worker; return its artifact."""
    settings = Train(
        encoder=Transformer(dropout=0.1, query_length=16, document_length=16),
        loss=(outside.SlowKL(**losses),),
        epochs=6,
        batch_size=8,
        learning_rate=1e-3,
        choose_by="dev_loss",
        patience=6,
        list_length=5,
        resources=TrainResources(num_workers=1, threads=1, chunk_size=16, checkpoint_every=2),
    )
    config = Config(name="toy", dataset=Beir(path=str(storage)), storage_path=str(storage), train=settings)
    storage.mkdir()
    return train(config, tiny.model(storage, "transformer"), *test_train.groups(storage)).path


def kill(cluster: Cluster, nodes: list[Any], storage: Path, killed: list[tuple[str, int]]) -> None:
    """Kill the training's worker, and later its node, at the given steps."""
    for step, what in KILLS:
        while reached(storage) < step:
            time.sleep(0.05)
        ((pid, node),) = workers(nodes).items()
        killed.append((what, reached(storage)))
        if what == "worker":
            os.kill(pid, signal.SIGKILL)
        else:
            cluster.remove_node(node, allow_graceful=False)
            nodes.remove(node)


def workers(nodes: list[Any]) -> dict[int, Any]:
    """Return process id and node of every training worker."""
    found = {}
    for node in nodes:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        found |= {p.pid: node for p in raylet.children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())}
    return found


def reached(storage: Path) -> int:
    """Return the last step in the training curve."""
    for path in storage.glob("artifacts/train/*/metrics.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)
    return 0


def content(artifact: Path) -> list[bytes]:
    """Return the artifact's weights and training curve."""
    (weights,) = (artifact / "model").rglob("*.safetensors")
    return [weights.read_bytes(), (artifact / "metrics.jsonl").read_bytes()]


if __name__ == "__main__":
    raise SystemExit(main())
