"""Kill what a local Ray leaves behind when its driver dies; runs as a process of its own.

A driver that dies by SIGKILL takes Ray's raylet with it and Ray's workers follow, but the processes that a worker
started, such as vLLM's engine, stay and keep their memory, on a GPU too.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

__all__ = ["guard", "watch"]

_POLL_SECONDS = 1.0
_GRACE_SECONDS = 3.0


def guard(token: Path) -> None:
    """Start a process that watches the raylet of this driver; ``token`` is the file of its token."""
    import psutil

    for child in psutil.Process().children():
        if child.name() == "raylet":
            command = [sys.executable, "-m", "gradret.work.reaper", str(child.pid), str(token)]
            subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, close_fds=True)  # noqa: S603


def watch(pid: int) -> None:
    """Wait for the end of the process ``pid``, then kill its descendants that are still alive after a few seconds."""
    import psutil

    descendants: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            descendants = {child for child in descendants if child.is_running()}
            descendants.update(root.children(recursive=True))
            with contextlib.suppress(psutil.TimeoutExpired):
                root.wait(_POLL_SECONDS)
    for child in psutil.wait_procs(descendants, timeout=_GRACE_SECONDS)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


if __name__ == "__main__":
    watch(int(sys.argv[1]))
    Path(sys.argv[2]).unlink(missing_ok=True)
