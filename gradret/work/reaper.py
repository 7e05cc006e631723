"""End what a local Ray leaves behind; watches in a process of its own, since a driver that dies by SIGKILL cannot.

Ray's raylet and workers follow their driver, but not the agents of a Ray that is just starting, nor processes that a
worker started, such as vLLM's engine, which keeps its memory, on a GPU too. All of them inherit the path of their Ray's
token (gradret.work.confined), by which they are found.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

__all__ = ["MARK", "PREFIX", "end", "guard", "watch"]

MARK = "RAY_AUTH_TOKEN_PATH"
PREFIX = "gradret-token-"
"""How the names of token files begin."""
_POLL_SECONDS = 1.0
_GRACE_SECONDS = 3.0


def guard(token: Path) -> subprocess.Popen[bytes]:
    """Start the process that watches this driver and the Ray that it is about to start with ``token``."""
    command = [sys.executable, "-m", "gradret.work.reaper", str(os.getpid()), str(token)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, close_fds=True)  # noqa: S603


def watch(pid: int, token: Path) -> None:
    """Wait until the driver ``pid`` dies, or until the raylet that it started is gone."""
    import psutil

    had_raylet = False
    with contextlib.suppress(psutil.NoSuchProcess):
        driver = psutil.Process(pid)
        while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE:
            has_raylet = any(child.name() == "raylet" and _is_marked(child, token) for child in driver.children())
            if had_raylet and not has_raylet:
                return
            had_raylet = has_raylet
            with contextlib.suppress(psutil.TimeoutExpired):
                driver.wait(_POLL_SECONDS)


def end(token: Path, grace: float = 0.0) -> None:
    """Kill the processes of the token's Ray that are alive after ``grace`` seconds, and remove the token."""
    import psutil

    psutil.wait_procs(_marked(token), timeout=grace)
    # Again, for what was started meanwhile.
    for process in _marked(token):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    token.unlink(missing_ok=True)


def _marked(token: Path) -> Iterator[psutil.Process]:
    import psutil

    return (process for process in psutil.process_iter() if _is_marked(process, token))


def _is_marked(process: psutil.Process, token: Path) -> bool:
    import psutil

    with contextlib.suppress(psutil.Error):
        return bool(process.environ().get(MARK) == str(token))
    return False


if __name__ == "__main__":
    watch(int(sys.argv[1]), Path(sys.argv[2]))
    end(Path(sys.argv[2]), _GRACE_SECONDS)
