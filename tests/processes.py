"""Wait for and kill the processes that a test started."""

import contextlib
import time
from pathlib import Path

import psutil

PATIENCE = 900
"""Seconds. A guard against hangs on a busy machine, no measure of speed."""


def wait_until(true, run=None, log=None):
    """Return once ``true()``; fail if ``run`` ends before that."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        said = Path(log).read_text()[-3000:] if log else ""
        assert run is None or run.poll() is None, f"the process ended too early: {said}"
        assert time.monotonic() < deadline, f"nothing happened in {PATIENCE} s: {said}"
        time.sleep(0.05)


def kill_tree(run):
    """Kill a process and all that it started, and wait until they are gone."""
    tree = [run, *psutil.Process(run.pid).children(recursive=True)] if run.poll() is None else [run]
    for process in tree:
        with contextlib.suppress(psutil.Error):
            process.kill()
    run.wait()
    _, alive = psutil.wait_procs(tree[1:], timeout=PATIENCE)
    assert not alive
