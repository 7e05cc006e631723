"""Describe the machine and the software that a report was written with."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gradret.version import VERSION

__all__ = ["Machine", "machine"]

_LIBRARIES = ("ray", "torch", "transformers", "sentence-transformers", "vllm", "faiss-cpu", "faiss-gpu", "bm25s")


@dataclass(frozen=True)
class Machine:
    """The driver's machine, in words."""

    hardware: str
    versions: str
    date: str
    """Today, UTC."""


def machine() -> Machine:
    """Describe this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = [f"{len(os.sched_getaffinity(0))} cores of {_cpu()}", f"{memory:.0f} GiB of memory", _gpus()]
    libraries = {name: _version(name) for name in _LIBRARIES}
    versions = [f"{name} {number}" for name, number in libraries.items() if number]
    return Machine(
        hardware=", ".join(parts),
        versions=", ".join([f"gradret {VERSION}", f"Python {platform.python_version()}", *versions]),
        date=datetime.now(UTC).date().isoformat(),
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _gpus() -> str:
    """The GPUs that the driver's tool lists; without the tool, none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "no GPU"
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    names = Counter(done.stdout.split("\n") if done.returncode == 0 else ())
    return ", ".join(f"{number} x {name.strip()}" for name, number in names.items() if name.strip()) or "no GPU"


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
