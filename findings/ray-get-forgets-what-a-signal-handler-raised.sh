#!/usr/bin/env bash
# A signal handler that raises an exception while ray.get waits: ray.get raises another one, SystemError for an Exception
# and KeyboardInterrupt for a subclass of it. It matters for long jobs under a scheduler: with a handler of SIGTERM that
# raises, to write a checkpoint or to exit with 143, `except Preempted` never runs.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[default]==2.60.0"
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import os
import signal
import threading
import time

import ray


class Preempted(Exception):
    pass


class Stopped(KeyboardInterrupt):
    pass


def raised(error, wait):
    def handler(number, frame):
        raise error

    signal.signal(signal.SIGTERM, handler)  # after ray.init, which sets its own
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        wait()
    except BaseException as caught:
        return type(caught).__name__


@ray.remote
def work():
    time.sleep(30)


ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)
for error, expected in ((Preempted, "SystemError"), (Stopped, "KeyboardInterrupt")):
    slept = raised(error, lambda: time.sleep(30))
    got = raised(error, lambda: ray.get(work.remote()))
    print(f"ray {ray.__version__}: the handler raises {error.__name__}: time.sleep raises {slept}, ray.get raises {got}")
    assert (slept, got) == (error.__name__, expected)
PYTHON
