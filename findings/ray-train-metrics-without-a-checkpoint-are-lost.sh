#!/usr/bin/env bash
# In Ray Train, what train.report is told without a checkpoint does not reach the result: Result.metrics holds the
# metrics of the last checkpoint, or None where there was none. It matters for a loop that saves every few epochs: the
# loss or nDCG read from the result is an older epoch's.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[train]==2.60.0" torch==2.13.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import os, tempfile
import ray
from ray import train
from ray.train import Checkpoint, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)


def loop(config):
    for epoch in range(3):
        with tempfile.TemporaryDirectory() as folder:
            saved = epoch in config["saves"]
            train.report({"epoch": epoch}, checkpoint=Checkpoint.from_directory(folder) if saved else None)


def metrics(name, saves):
    run = RunConfig(storage_path=os.path.abspath("runs"), name=name)
    return (
        TorchTrainer(
            loop, train_loop_config={"saves": saves}, scaling_config=ScalingConfig(num_workers=1), run_config=run
        )
        .fit()
        .metrics
    )


never, first = metrics("never", []), metrics("first", [0])
ray.shutdown()
print(
    f"ray {ray.__version__}: epochs 0, 1 and 2 were reported; Result.metrics without any checkpoint: {never}; with one at epoch 0: {first}"
)
assert never is None and first == {"epoch": 0}
PYTHON
