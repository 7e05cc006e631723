"""Name result files by hardware and date."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def hardware() -> str:
    """Describe the hardware of the measurement in a line."""
    model = "unknown CPU"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    date = datetime.datetime.now(tz=datetime.UTC).date()
    return (
        f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB, Python {platform.python_version()}, {date}"
    )


def result_path(what: str, ending: str) -> Path:
    """Return ``results/<what>_<cores>cpu_<date>.<ending>``."""
    RESULTS.mkdir(exist_ok=True)
    date = datetime.datetime.now(tz=datetime.UTC).date()
    return RESULTS / f"{what}_{len(os.sched_getaffinity(0))}cpu_{date}.{ending}"
