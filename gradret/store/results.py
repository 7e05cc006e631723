"""The result of a worker for one shard: tables, quarantined rows and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gradret.store.checksums import FileSum

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Quarantined", "Result", "Worker", "quarantine_table"]


@dataclass(frozen=True)
class Quarantined:
    """A row that could not be used."""

    where: str
    """Its place, such as ``file:line``, or its id."""
    reason: str
    """Why it could not be used."""
    raw: str = ""
    """Its content."""


@dataclass
class Result:
    """The result of a worker for one shard."""

    tables: dict[str, pa.Table]
    rows_in: int
    rows_kept: int
    quarantined: list[Quarantined] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    files: dict[str, FileSum] = field(default_factory=dict)
    """Sums of the other files that the worker wrote, by their names in the artifact."""


class Worker(Protocol):
    """Turns one input shard into a result."""

    def __call__(self, item: Any, /) -> Result: ...


def quarantine_table(table: str, rows: Sequence[Quarantined]) -> pa.Table:
    """Quarantined rows as a table of the contract ``quarantine``."""
    import pyarrow as pa

    return pa.table(
        {
            "table": pa.array([table] * len(rows), pa.string()),
            "where": pa.array([row.where for row in rows], pa.string()),
            "reason": pa.array([row.reason for row in rows], pa.string()),
            "raw": pa.array([row.raw[:2000] for row in rows], pa.string()),
        }
    )
