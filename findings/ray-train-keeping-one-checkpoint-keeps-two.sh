#!/usr/bin/env bash
# CheckpointConfig(num_to_keep=1) with a score attribute keeps two checkpoints, the best and the latest, and
# Result.checkpoint and Result.metrics are those of the latest: the best is in Result.best_checkpoints. It matters for
# "keep the best": the model that is loaded from the result is the last one.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[train]==2.60.0" torch==2.13.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import os, tempfile
import ray
from ray import train
from ray.train import Checkpoint, CheckpointConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)


def loop():
    for ndcg in (0.9, 0.1, 0.5):
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/ndcg", "w") as file:
                file.write(str(ndcg))
            train.report({"ndcg": ndcg}, checkpoint=Checkpoint.from_directory(folder))


keep = CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="ndcg", checkpoint_score_order="max")
run = RunConfig(storage_path=os.path.abspath("runs"), name="run", checkpoint_config=keep)
result = TorchTrainer(loop, scaling_config=ScalingConfig(num_workers=1), run_config=run).fit()
kept = sorted(name for name in os.listdir(result.path) if name.startswith("checkpoint_2"))
with open(f"{result.checkpoint.path}/ndcg") as file:
    latest = float(file.read())
best = [metrics["ndcg"] for _, metrics in result.best_checkpoints]
ray.shutdown()
print(
    f"ray {ray.__version__}: nDCG .9, .1, .5 with num_to_keep=1: {len(kept)} folders kept; checkpoint {latest}, best_checkpoints {best}"
)
assert len(kept) == 2 and latest == 0.5 and result.metrics == {"ndcg": 0.5} and best == [0.9]
PYTHON
