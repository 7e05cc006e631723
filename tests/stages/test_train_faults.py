"""A training whose worker or node is killed ends with the weights of one that nothing disturbed.

Runs a Ray cluster of its own with several nodes, in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path

CODE = """
import json, os, signal, sys, threading, time
from pathlib import Path

import psutil
import ray
from ray.cluster_utils import Cluster

from gradret.config import Config, Train, TrainResources
from gradret.datasets.beir import Beir
from gradret.encoders.transformer import Transformer
from gradret.stages.train import train
from tests.stages import outside, test_train, tiny

folder = Path(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)


def trained(name, **losses):
    settings = Train(
        encoder=Transformer(dropout=0.1, query_length=16, document_length=16), loss=(outside.SlowKL(**losses),),
        epochs=6, batch_size=8, learning_rate=1e-3, choose_by="dev_loss", patience=6, list_length=5,
        resources=TrainResources(num_workers=1, threads=1, chunk_size=16, checkpoint_every=2),
    )
    storage = folder / name
    config = Config(name="toy", dataset=Beir(path=str(folder)), storage_path=str(storage), train=settings)
    (storage / "artifacts" / "train").mkdir(parents=True)
    return str(train(config, tiny.model(storage, "transformer"), *test_train.groups(storage)).path)


def workers():
    found = {}
    for node in nodes:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        found |= {p.pid: node for p in raylet.children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline())}
    return found


killed = []


def disturb():
    for step, kill in ((6, "worker"), (14, "node")):
        while reached() < step:
            time.sleep(0.05)
        ((pid, node),) = workers().items()
        killed.append([kill, reached()])
        if kill == "worker":
            os.kill(pid, signal.SIGKILL)
        else:
            cluster.remove_node(node, allow_graceful=False)
            nodes.remove(node)


def reached():
    for path in folder.glob("disturbed/artifacts/train/*/metrics.jsonl"):
        lines = path.read_text().splitlines()
        return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)
    return 0


made = {"whole": trained("whole")}
threading.Thread(target=disturb, daemon=True).start()
made |= {"disturbed": trained("disturbed", seconds=0.1), "killed": killed}
(folder / "made.json").write_text(json.dumps(made))
ray.shutdown()
cluster.shutdown()
"""


def test_a_killed_worker_and_a_killed_node_change_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads((tmp_path / "made.json").read_text())
    assert [what for what, _ in made["killed"]] == ["worker", "node"]
    assert made["killed"][0][1] < made["killed"][1][1] < 30
    whole, disturbed = Path(made["whole"]), Path(made["disturbed"])
    (weights,), (others,) = (list((path / "model").rglob("*.safetensors")) for path in (whole, disturbed))
    assert weights.read_bytes() == others.read_bytes()
    assert (whole / "metrics.jsonl").read_text() == (disturbed / "metrics.jsonl").read_text()
