#!/usr/bin/env bash
# random_shuffle(seed=...) gives another order for another number of blocks, and that number follows from the CPUs and
# the file sizes: the same seed and rows train in another order on another machine. It matters for repeating a training
# run (override_num_blocks and preserve_order fix it).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[data]==2.60.0" pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import ray

ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)

ray.data.DataContext.get_current().execution_options.preserve_order = True


def order(blocks):
    return [row["id"] for row in ray.data.range(12, override_num_blocks=blocks).random_shuffle(seed=1).take_all()]


two, again, four = order(2), order(2), order(4)
ray.shutdown()
print(f"ray {ray.__version__}: random_shuffle(seed=1) of 12 rows in 2 blocks {two}, in 4 blocks {four}")
assert two == again and two != four and sorted(two) == sorted(four)
PYTHON
