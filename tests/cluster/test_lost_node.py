"""A node that is killed while its actors answer; benchmarks/kill_nodes.py does so in every stage."""

import subprocess
import sys
from pathlib import Path

from ..processes import kill_tree

ROOT = Path(__file__).parents[2]
# In a process of its own, since a process knows one Ray only.
CODE = """
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from ray.cluster_utils import Cluster

from gradret.config.resources import Workers
from gradret.config.run import Search
from gradret.search.searcher import Searcher
from gradret.search.shard_files import write_shard_files
from gradret.store.artifacts import Artifact

folder = Path(sys.argv[1])
vectors = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
ids = [f"d{number:03d}" for number in range(400)]
for shard, part in enumerate((slice(200), slice(200, 400))):
    write_shard_files(folder / "shards", shard, [(ids[part], vectors[part])], vectors[part].shape)
index = Artifact("index", folder.name, folder, {"notes": {"shards": 2, "factory": "Flat", "dimension": 8}})

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
os.environ["RAY_ADDRESS"] = cluster.address
searcher = Searcher(index, Search(resources=Workers(actors=2)), 1)
blocks = ((number, pa.array([f"q{number:03d}"]), vectors[number : number + 1] * 9) for number in range(100))
found = []
for number, run in searcher.run(blocks):
    if number == 3:
        cluster.remove_node(nodes[0], allow_graceful=False)
    found += run.table["doc_id"].to_pylist()
nearest = np.argmax(vectors[:100].astype(np.float64) @ vectors.T, axis=1)
assert found == [ids[number] for number in nearest], found
print("found")
"""
SHARDS = """
import os
import sys
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from gradret.store.artifacts import Draft
from gradret.store.results import Result
from gradret.work import nodes, shards

class Slow:
    def __call__(self, item):
        time.sleep(1)
        return Result({}, 1, 1)

def lose(stage, rows=0, quarantined=0):
    cluster.remove_node(node, allow_graceful=False)

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
node = cluster.add_node(num_cpus=1)
os.environ["RAY_ADDRESS"] = cluster.address
nodes._INTERVAL = 1.0
shards.metrics.count = lose  # after the first shard
draft = Draft(Path(sys.argv[1]), "label")
draft.path.mkdir()
shards.map_shards(draft, list(range(6)), Slow, total=6)
"""


def test_a_search_goes_on_without_a_node(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path / "index"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "found" in done.stdout.splitlines(), done.stderr[-3000:]  # Ray may print after it


def test_a_stage_that_lost_all_nodes_says_what_it_waits_for(tmp_path):
    command = [sys.executable, "-c", SHARDS, tmp_path / "draft"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        said = "  label: no node is left for it; waits for a node with 1 CPU (0 of 1); the cluster has "
        assert any(line.startswith(said) for line in run.stderr)
        kill_tree(run)
