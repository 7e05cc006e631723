#!/usr/bin/env bash
# In map_batches a column of integers comes as int64, or as float64 if a value is missing in the same block: large ids
# are then rounded, and returning the batch stores them so. Which rows share a block depends on the file sizes and
# CPUs; map, row by row, keeps them. It matters for 64-bit hashes as ids: the same code changes ids on one machine and
# not on another.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[data]==2.60.0" pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import ray

ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)
exact = 2**53 + 1
rows = [{"id": exact}, {"id": None}]


def ids(blocks):
    data = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(lambda batch: batch)
    return sorted((row["id"] for row in data.take_all()), key=str)[0]


together, apart = ids(1), ids(2)
by_row = ray.data.from_items(rows, override_num_blocks=1).map(lambda row: {"id": row["id"]}).take_all()[0]["id"]
ray.shutdown()
print(
    f"ray {ray.__version__}: id {exact} after map_batches that changes nothing: beside a missing one {together!r}, in another block {apart!r}"
)
print(f"  after map, beside a missing one: {by_row!r}")
assert isinstance(together, float) and int(together) == exact - 1
assert apart == by_row == exact
PYTHON
