"""Say that the raylet of a local Ray died, and end the run.

Without its raylet, a driver waits for a minute; then Ray's core ends the process without a word.
"""

from __future__ import annotations

import os
import threading
import time

from gradret.progress import say

__all__ = ["watch_raylet"]

_POLL_SECONDS = 1.0


def watch_raylet() -> None:
    """Watch the raylet that this process started, in a thread; end the process with exit code 1 if it dies."""
    import psutil

    raylets = [child for child in psutil.Process().children() if child.name() == "raylet"]
    if raylets:
        threading.Thread(target=_watch, args=(raylets[-1].pid,), daemon=True).start()


def _watch(pid: int) -> None:
    import ray

    while not _is_dead(pid):
        time.sleep(_POLL_SECONDS)
    # A session that ends disconnects first and then stops its raylet.
    if ray.is_initialized():
        say(
            "gradret: Ray's raylet was killed, perhaps for lack of memory; run the same command again to resume",
            "warning",
        )
        os._exit(1)


def _is_dead(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
