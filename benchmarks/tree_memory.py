"""Memory of a command with all that it starts, Ray's processes among them."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Peak", "run"]

_INTERVAL = 0.5
_RAY = ("raylet", "gcs_server", "agent.py", "monitor.py", "log_monitor", "dashboard", "ray_client")


@dataclass
class Peak:
    """GiB, each the highest value that was seen; ``total`` is the highest sum, all at one moment.

    A page that several processes share counts once, in parts (proportional set size). Pages of files that
    are only mapped, such as an index's vectors, count in ``mapped`` alone: the kernel may drop them.
    """

    driver: float = 0.0
    """The command's own process."""
    worker: float = 0.0
    """The biggest of the others, Ray's own processes apart."""
    workers: float = 0.0
    """All of them together, object store included."""
    ray: float = 0.0
    """Ray's own processes: its scheduler, its control service, its agents."""
    total: float = 0.0
    mapped: float = 0.0
    seconds: float = 0.0


def run(command: Sequence[str]) -> Peak:
    """Run a command to its end.

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
    driver, mapped = _pss(own.pid)
    workers, ray = [0.0], 0.0
    for process in others:
        with contextlib.suppress(psutil.Error):
            name = " ".join(process.cmdline()[:4])
            held, files = _pss(process.pid)
            mapped += files
            if any(word in name for word in _RAY):
                ray += held
            else:
                workers.append(held)
    peak.driver, peak.ray, peak.mapped = max(peak.driver, driver), max(peak.ray, ray), max(peak.mapped, mapped)
    peak.worker, peak.workers = max(peak.worker, *workers), max(peak.workers, sum(workers))
    peak.total = max(peak.total, driver + ray + sum(workers))


def _pss(pid: int) -> tuple[float, float]:
    """GiB held, and GiB of files mapped."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except OSError:  # it has ended
        return 0.0, 0.0
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return (kib["Pss_Anon"] + kib["Pss_Shmem"]) / 2**20, kib["Pss_File"] / 2**20
