"""Show the progress of long work on standard error: rows, rate, remaining time.

On a terminal, the line of a running stage is rewritten in place; otherwise one plain line per interval
is printed, so that logs stay readable. ``--quiet`` prints warnings alone, ``--verbose`` details too; a run's log
has every line. With ``--json``, programs get the same as events on standard output.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

__all__ = [
    "Level",
    "Progress",
    "clear",
    "duration",
    "emit",
    "live",
    "logged",
    "printable",
    "say",
    "set_output",
    "unsilenced",
    "waiting",
]

Level = Literal["detail", "info", "warning"]
_LEVELS: tuple[Level, ...] = ("detail", "info", "warning")

_INTERVAL = 5.0
_BAR = 20
"""Columns of the bar on a terminal; a quarter of the terminal's if it is narrow."""
_WAITING = 15.0
"""Seconds between lines of what is waited for."""
_streams: list[TextIO] = []
"""Standard error itself, while its descriptor is silenced."""
_logs: list[Path] = []
"""Files that get every line."""
_output: dict[str, bool] = {"quiet": False, "verbose": False, "events": False, "live": False}
"""What is printed, and whether the terminal's last line is one that is rewritten."""

# Control characters, except tab and line end; marks that change the direction of text; unpaired surrogates.
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def set_output(*, quiet: bool = False, verbose: bool = False, events: bool = False) -> None:
    """Print warnings only, or details too; and events as JSON on standard output."""
    _output.update(quiet=quiet, verbose=verbose, events=events)


def say(text: str, level: Level = "info") -> None:
    """Print one line, if the output is to have lines of its level."""
    if _is_shown(level):
        clear()
        print(printable(text), file=_stream(), flush=True)
    _log(text)


@contextmanager
def waiting(text: str) -> Iterator[Callable[[], None]]:
    """Say every 15 seconds what is waited for, until the block ends or calls what it is given."""
    over, started = threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(_WAITING):
            say(f"  {text}, for {time.monotonic() - started:.0f} s so far")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield over.set
    finally:
        over.set()
        thread.join()


@contextmanager
def unsilenced(stream: TextIO) -> Iterator[None]:
    """Print lines to ``stream``, a copy of standard error, while that is silenced."""
    _streams.append(stream)
    try:
        yield
    finally:
        _streams.remove(stream)


def _stream() -> TextIO:
    return _streams[-1] if _streams else sys.stderr


def emit(event: str, **fields: object) -> None:
    """Print an event for programs, a JSON object in a line of standard output, if they are asked for."""
    if _output["events"]:
        print(json.dumps({"event": event, **fields}), flush=True)


def live(text: str) -> None:
    """Rewrite the last line of the terminal, if it is one; cut to its width."""
    if _is_live() and _is_shown("info"):
        print(f"\r{printable(text)[: _columns() - 1]}\x1b[K", end="", file=_stream(), flush=True)
        _output["live"] = True


def _is_live() -> bool:
    """Whether lines can be rewritten."""
    return _stream().isatty() and os.environ.get("TERM") != "dumb"


def _columns() -> int:
    """Of the terminal of standard error; standard output, which shutil asks, may be a file."""
    with suppress(OSError):
        if columns := os.get_terminal_size(_stream().fileno()).columns:
            return columns
    return shutil.get_terminal_size().columns


def clear() -> None:
    """Clear the line that is rewritten, if there is one."""
    if _output["live"]:
        print("\r\x1b[K", end="", file=_stream(), flush=True)
        _output["live"] = False


def _is_shown(level: Level) -> bool:
    least: Level = "warning" if _output["quiet"] else "detail" if _output["verbose"] else "info"
    return _LEVELS.index(level) >= _LEVELS.index(least)


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


def duration(seconds: float) -> str:
    """Seconds in words: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


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
    """Counts ``done`` of ``total`` units and prints them every ``interval`` seconds.

    The rate, and the time left, count from the first units on: before them, workers start and load models.
    """

    def __init__(self, what: str, total: int, unit: str = "rows", interval: float = _INTERVAL) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.interval = 0.2 if _is_live() else interval
        self.done = self.before = 0
        self.first: float | None = None
        self.started = self.last = self.last_logged = time.monotonic()

    def skip(self, count: int) -> None:
        """Count units done by an earlier run; they do not affect the rate."""
        self.done += count
        self.before += count

    def begin(self, seconds: float) -> None:
        """Count the rate from ``seconds`` ago, when work began, instead of from the first units on."""
        self.first = time.monotonic() - seconds

    def say_resumed(self) -> None:
        """Tell how many units an earlier run has done, if any."""
        if self.done:
            say(f"  {self.what}: resumed, {self.done:,} of {self.total:,} {self.unit} were there")
            emit("resumed", what=self.what, done=self.done, total=self.total, unit=self.unit)

    def add(self, count: int, note: str = "") -> None:
        """Count units done by this run."""
        self.done += count
        now = time.monotonic()
        if self.first is None and count:
            self.first, self.before = now, self.done
        if now - self.last >= self.interval:
            self.last = now
            self._print(now, note)

    def due(self) -> bool:
        """Return whether the next ``add`` prints a line."""
        return time.monotonic() - self.last >= self.interval

    def _print(self, now: float, note: str) -> None:
        rate = (self.done - self.before) / max(now - (self.first or now), 1e-9)
        text = f"{self.done:,}/{self.total:,} {self.unit}"
        if rate:
            pace = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
            text += f", {pace}, {(self.total - self.done) / rate:,.0f} s left"
        elif self.first is None:
            text += f", starting for {now - self.started:.0f} s"
        text += note
        emit("progress", what=self.what, done=self.done, total=self.total, unit=self.unit, rate=rate)
        if not _is_live():
            say(f"  {self.what}: {text}")
            return
        live(f"{bar(self.done, self.total)} {self.what}: {text}")
        if now - self.last_logged >= _INTERVAL:
            self.last_logged = now
            _log(f"  {self.what}: {text}")

    def close(self) -> None:
        """Clear the rewritten line, if there is one."""
        clear()


def bar(done: int, total: int) -> str:
    """A bar, full if all is done; as wide for all of the work."""
    width = min(_BAR, _columns() // 4)
    full = min(width, width * done // max(total, 1))
    return f"{'█' * full}{'░' * (width - full)}"
