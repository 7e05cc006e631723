"""Wait for, and kill, processes started by a test."""

import contextlib
import time
from pathlib import Path

import psutil

PATIENCE = 900
"""Seconds until a test fails. It catches hangs, even on a busy machine, and does not test speed."""


def wait_until(true, run=None, log=None):
    """Return as soon as ``true()``; fail if ``run`` ends before that."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        output = Path(log).read_text()[-3000:] if log else ""
        assert run is None or run.poll() is None, f"the process ended too early: {output}"
        assert time.monotonic() < deadline, f"nothing happened in {PATIENCE} s: {output}"
        time.sleep(0.05)


def kill_tree(run):
    """Kill a process and all its descendants, and wait until they have ended."""
    tree = [run, *psutil.Process(run.pid).children(recursive=True)] if run.poll() is None else [run]
    for process in tree:
        with contextlib.suppress(psutil.Error):
            process.kill()
    run.wait()
    _, alive = psutil.wait_procs(tree[1:], timeout=PATIENCE)
    assert not alive
