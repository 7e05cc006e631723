"""One result of a check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "all_well"]


@dataclass(frozen=True)
class Finding:
    """What a check found; a fault would fail a run."""

    level: Literal["ok", "warning", "fault"]
    check: str
    text: str
    fix: str = ""
    """What to do about it."""

    @property
    def line(self) -> str:
        """The finding in one line."""
        text = " ".join(f"{self.check}: {self.text}".split())
        return f"{self.level:<8} {text}" + (f"; {self.fix}" if self.fix else "")


def all_well(check: str, findings: Iterable[Finding], text: str) -> list[Finding]:
    """The findings of a check or, if there are none, one that says ``text``."""
    return list(findings) or [Finding("ok", check, text)]
