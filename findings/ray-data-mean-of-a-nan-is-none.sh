#!/usr/bin/env bash
# In ray.data, mean and sum skip a missing value, but one nan turns them into None (neither nan nor the mean of the
# rest), while max skips the nan. It matters for checks such as math.isnan(mean) after a diverged loss or a score of
# 0/0, which fail on None with another error.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[data]==2.60.0" pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import ray

ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)


def aggregates(values):
    data = ray.data.from_items([{"score": value} for value in values])
    return data.mean("score"), data.sum("score"), data.max("score")


missing, nan = aggregates([1.0, None, 3.0]), aggregates([1.0, float("nan"), 3.0])
ray.shutdown()
print(f"ray {ray.__version__}: (mean, sum, max) of 1, 3 and a missing value: {missing}; and a nan: {nan}")
assert missing == (2, 4, 3) and nan == (None, None, 3)
PYTHON
