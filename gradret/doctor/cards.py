"""Read what nvidia-smi prints."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Card", "Holder", "cards", "holders"]


@dataclass(frozen=True)
class Card:
    """A GPU."""

    uuid: str
    capability: tuple[int, int]
    """CUDA compute capability: (9, 0) for an H100."""
    driver: str
    total: int
    """Memory in MiB."""
    used: int
    name: str


@dataclass(frozen=True)
class Holder:
    """A process that uses a GPU."""

    uuid: str
    pid: int
    used: int
    """Memory in MiB; 0 if unknown."""
    name: str


def cards(text: str) -> list[Card]:
    """GPUs, from ``--query-gpu=uuid,compute_cap,driver_version,memory.total,memory.used,name``, CSV without units."""
    rows = [_cells(line, 6) for line in text.splitlines() if line.strip()]
    return [Card(row[0], _capability(row[1]), row[2], _mib(row[3]), _mib(row[4]), row[5]) for row in rows]


def holders(text: str) -> list[Holder]:
    """Processes, from ``--query-compute-apps=gpu_uuid,pid,used_memory,process_name``, CSV without units."""
    rows = [_cells(line, 4) for line in text.splitlines() if line.strip()]
    return [Holder(row[0], int(row[1]), _mib(row[2]), row[3]) for row in rows]


def _cells(line: str, number: int) -> list[str]:
    return [cell.strip() for cell in line.split(",", number - 1)]


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _mib(text: str) -> int:
    """The number, or 0 for ``[N/A]``, as in containers and MIG slices."""
    return int(text) if text.isdigit() else 0
