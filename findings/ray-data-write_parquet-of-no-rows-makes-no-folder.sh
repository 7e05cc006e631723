#!/usr/bin/env bash
# write_parquet of a dataset whose rows were all filtered out succeeds and writes nothing, not even the folder or the
# schema: reading the result fails with FileNotFoundError. It matters for a stage that may rightly keep nothing, such
# as a filter of failed queries.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[data]==2.60.0" pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import os
import ray

ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)
ray.data.range(5).filter(lambda row: row["id"] > 10).write_parquet(os.path.abspath("failed"))
there = os.path.exists("failed")
try:
    read = ray.data.read_parquet(os.path.abspath("failed")).count()
except FileNotFoundError as error:
    read = type(error).__name__
ray.shutdown()
print(f"ray {ray.__version__}: after write_parquet of no rows the folder exists: {there}; read_parquet: {read}")
assert not there and read == "FileNotFoundError"
PYTHON
