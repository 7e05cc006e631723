#!/usr/bin/env bash
# write_parquet to a folder that holds an earlier result adds files under new random names, by default and without a
# word: a job that is run again leaves every row twice. It matters for reruns and retries (mode="overwrite" or
# mode="error" says what is meant).
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


def rows(**options):
    ray.data.range(4).write_parquet(os.path.abspath("out"), **options)
    return ray.data.read_parquet(os.path.abspath("out")).count()


first, second, overwritten = rows(), rows(), rows(mode="overwrite")
ray.shutdown()
print(
    f"ray {ray.__version__}: rows after writing 4 rows once {first}, twice {second}, then with mode='overwrite' {overwritten}"
)
assert (first, second, overwritten) == (4, 8, 4)
PYTHON
