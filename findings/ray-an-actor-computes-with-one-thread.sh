#!/usr/bin/env bash
# A Ray actor without num_cpus takes no CPU of the cluster while it lives, yet its process has OMP_NUM_THREADS=1, and
# so have tasks; only num_cpus=N raises it. It matters for torch, numpy and FAISS in actors: on a machine of 64 cores a
# lone encoder uses one.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[default]==2.60.0"
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import os
import ray

os.environ.pop("OMP_NUM_THREADS", None)
ray.init(
    num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)


@ray.remote
class Encoder:
    def threads(self):
        return os.environ.get("OMP_NUM_THREADS")


def started(**options):
    actor = Encoder.options(**options).remote()
    threads = ray.get(actor.threads.remote())
    return threads, 4 - ray.available_resources().get("CPU", 0)


plain = started()
four = started(num_cpus=4)[0]
ray.shutdown()
print(
    f"ray {ray.__version__}: an actor without num_cpus: OMP_NUM_THREADS {plain[0]}, CPUs taken {plain[1]}; with num_cpus=4: {four}"
)
assert plain == ("1", 0) and four == "4"
PYTHON
