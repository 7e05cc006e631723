"""Show the progress of long work on standard error: rows, rate, remaining time.

On a terminal, the line of a running stage is rewritten in place; otherwise one plain line per interval
is printed, so that logs stay readable.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Progress", "logged", "printable", "say"]

_INTERVAL = 5.0
_logs: list[Path] = []
"""Files that get every line."""

# Control characters, except tab and line end; marks that change the direction of text; unpaired surrogates.
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def say(text: str) -> None:
    """Print one line."""
    print(printable(text), file=sys.stderr, flush=True)
    _log(text)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Add all lines of this process to the file ``path``, each after its UTC time and a tab, until the block ends.

    The block's last line is ``finished``, or ``failed: `` and the error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _logs.append(path)
    try:
        _log("started")
        yield
        _log("finished")
    except BaseException as error:
        _log(f"failed: {str(error) or type(error).__name__}".partition("\n")[0])
        raise
    finally:
        _logs.remove(path)


def printable(text: str) -> str:
    """Escape control characters in ``text``, because texts of others must not control a terminal."""
    return _CONTROLS.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def _log(text: str) -> None:
    for path in _logs:
        # A full disk is said by whoever writes results to it.
        with suppress(OSError), path.open("a", encoding="utf-8") as file:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            file.writelines(f"{now}\t{line}\n" for line in printable(text).splitlines())


class Progress:
    """Counts ``done`` of ``total`` units and prints them every ``interval`` seconds."""

    def __init__(self, what: str, total: int, unit: str = "rows", interval: float = _INTERVAL) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.interval = 0.2 if sys.stderr.isatty() else interval
        self.done = 0
        self.resumed = 0
        self.started = self.last = self.last_logged = time.monotonic()

    def skip(self, count: int) -> None:
        """Count units done by an earlier run; they do not affect the rate."""
        self.done += count
        self.resumed += count

    def add(self, count: int, note: str = "") -> None:
        """Count units done by this run."""
        self.done += count
        now = time.monotonic()
        if now - self.last >= self.interval:
            self.last = now
            self._print(now, note)

    def due(self) -> bool:
        """Return whether the next ``add`` prints a line."""
        return time.monotonic() - self.last >= self.interval

    def _print(self, now: float, note: str) -> None:
        rate = (self.done - self.resumed) / max(now - self.started, 1e-9)
        text = f"  {self.what}: {self.done:,}/{self.total:,} {self.unit}"
        if rate:
            pace = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
            text += f", {pace}, {(self.total - self.done) / rate:,.0f} s left"
        text += note
        if sys.stderr.isatty():
            print(f"\r{text}\x1b[K", end="" if self.done < self.total else "\n", file=sys.stderr, flush=True)
            if now - self.last_logged >= _INTERVAL:
                self.last_logged = now
                _log(text)
        else:
            say(text)

    def close(self) -> None:
        """Clear the rewritten line, if there is one."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
