#!/usr/bin/env bash
# An exception in a Ray task can be caught by its own type; the same exception in an actor's constructor arrives, at
# the first method call, as ActorDiedError, which is no subclass of it. It matters for a wrong setting of an encoder or
# engine that is checked in the constructor: the handler that turns ValueError into a message for the user never runs.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[default]==2.60.0"
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import ray

ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)


@ray.remote
def task():
    raise ValueError("no such model")


@ray.remote
class Encoder:
    def __init__(self):
        raise ValueError("no such model")

    def encode(self):
        return 1


def kinds(reference):
    try:
        ray.get(reference)
    except Exception as error:
        return type(error).__name__, isinstance(error, ValueError), "no such model" in str(error)


by_task, by_actor = kinds(task.remote()), kinds(Encoder.remote().encode.remote())
ray.shutdown()
print(
    f"ray {ray.__version__}: (type, is a ValueError, has its message) of a task's ValueError: {by_task}, of a constructor's: {by_actor}"
)
assert by_task[1:] == (True, True)
assert by_actor == ("ActorDiedError", False, True)
PYTHON
