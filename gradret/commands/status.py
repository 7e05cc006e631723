"""``gradret status``: what a run is doing, read from its log in the storage, on any machine that sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gradret.errors import ConfigError
from gradret.store.mirror import refreshed
from gradret.urls import local_path, shown

__all__ = ["Status", "status"]


@dataclass(frozen=True)
class Status:
    """What the log of a run tells about its last start."""

    name: str
    state: str
    """``running``, ``finished``, or ``failed``. A run that was killed looks as if it were running."""
    seconds: float
    """Time since the last line."""
    lines: tuple[str, ...]
    """Of the last start: a line for each finished stage, and for the current one its last line."""

    @property
    def text(self) -> str:
        """The state, and under it the lines."""
        return "\n".join([f"{self.name}: {self.state}, last line {self.seconds:,.0f} s ago", *self.lines])


def status(run: str | Path) -> Status:
    """Read the log of a run.

    Args:
        run: the run's folder, ``STORAGE/runs/NAME``, or its URL.

    Raises:
        ConfigError: it has no log.
    """
    log = refreshed(local_path(run) / "log.txt")
    try:
        rows = [line.partition("\t") for line in log.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise ConfigError(
            f"{shown(log)} cannot be read: {error.strerror}; give the folder of a run that was started, "
            "STORAGE/runs/NAME"
        ) from error
    start = max((n for n, (_, _, text) in enumerate(rows) if text == "started"), default=0)
    texts = [text for _, _, text in rows[start + 1 :]]
    last = texts[-1] if texts else ""
    state = "finished" if last == "finished" else last if last.startswith("failed: ") else "running"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(rows[-1][0])).total_seconds() if rows else 0.0
    return Status(log.parent.name, state, max(0.0, seconds), tuple(_shown(texts)))


def _shown(texts: list[str]) -> list[str]:
    """Leave out progress lines, which are indented, except the last line of all."""
    texts = [text for text in texts if text != "finished" and not text.startswith("failed: ")]
    return [text for text in texts[:-1] if not text.startswith(" ")] + texts[-1:]
