"""Peak memory of a command and all processes that it starts, including Ray's."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Peak", "pss", "run"]

_INTERVAL = 0.5
_RAY = ("raylet", "gcs_server", "agent.py", "monitor.py", "log_monitor", "dashboard", "ray_client")


@dataclass
class Peak:
    """Peaks in GiB; ``total`` is the peak of the sum over all processes at one moment.

    A shared page is divided among its processes (proportional set size). File-backed pages, such as an index's
    vectors, count only in ``mapped``, because the kernel can reclaim them.
    """

    driver: float = 0.0
    """The command's own process."""
    worker: float = 0.0
    """The largest other process, without Ray's processes."""
    workers: float = 0.0
    """All workers together, with the object store."""
    ray: float = 0.0
    """Ray's processes: scheduler, control service, agents."""
    total: float = 0.0
    mapped: float = 0.0
    seconds: float = 0.0


def run(command: Sequence[str]) -> Peak:
    """Run a command and wait for it.

    Raises:
        CalledProcessError: it failed.
    """
    peak, started = Peak(), time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
        watcher.start()
        status = process.wait()
        peak.seconds = time.monotonic() - started
        done.set()
        watcher.join()
    if status:
        raise subprocess.CalledProcessError(status, command)
    return peak


def _watch(pid: int, peak: Peak, done: threading.Event) -> None:
    while not done.wait(_INTERVAL):
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(pid)
            _note(own, own.children(recursive=True), peak)


def _note(own: psutil.Process, others: list[psutil.Process], peak: Peak) -> None:
    driver, mapped = pss(own.pid)
    workers, ray = [0.0], 0.0
    for process in others:
        with contextlib.suppress(psutil.Error):
            name = " ".join(process.cmdline()[:4])
            held, files = pss(process.pid)
            mapped += files
            if any(word in name for word in _RAY):
                ray += held
            else:
                workers.append(held)
    peak.driver, peak.ray, peak.mapped = max(peak.driver, driver), max(peak.ray, ray), max(peak.mapped, mapped)
    peak.worker, peak.workers = max(peak.worker, *workers), max(peak.workers, sum(workers))
    peak.total = max(peak.total, driver + ray + sum(workers))


def pss(pid: int) -> tuple[float, float]:
    """Return GiB of private and shared memory, and GiB of mapped files."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except OSError:  # the process has ended
        return 0.0, 0.0
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return (kib["Pss_Anon"] + kib["Pss_Shmem"]) / 2**20, kib["Pss_File"] / 2**20
