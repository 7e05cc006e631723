"""Number the stages of a run and sum up each in one line: ``[ 7/15] mine  12.3 s  294 rows in, 6,686 rows out``.

A stage may make several artifacts, its parts: indexes of two models, vectors that a retriever needs. Their own lines
are details.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from types import MappingProxyType

from gradret.components import name_of
from gradret.progress import clear, emit, live, say

__all__ = ["Stage", "Tally", "numbered", "part", "tallied"]


@dataclass
class Tally:
    """Stages of a run that were computed, at least in part, and those that were reused."""

    computed: int = 0
    reused: int = 0

    @property
    def text(self) -> str:
        """The counts in words."""
        return f"{self.computed} stage{'s' * (self.computed != 1)} computed, {self.reused} reused"


@dataclass
class Stage:
    """A stage that is running."""

    name: str
    number: int
    total: int
    started: float = field(default_factory=time.monotonic)
    made: int = 0
    """Parts that were computed."""
    known: int = 0
    """Parts that were reused."""
    abouts: list[tuple[str, str]] = field(default_factory=list)
    """Stage, and model and texts, of each part."""

    @property
    def head(self) -> str:
        """Its number and name."""
        return f"[{self.number:>{len(str(self.total))}}/{self.total}] {self.name:<8}"

    def end(self, counts: Mapping[str, int], paths: Mapping[str, str], own: Collection[str]) -> None:
        """Sum it up, unless the process has told of all of its parts before, for another run.

        Args:
            counts: rows in, out and so on.
            paths: folders of its results by name.
            own: the stages that its results are of, which other parts only serve.
        """
        seconds = time.monotonic() - self.started
        reused = not self.made
        event = {"stage": self.name, "number": self.number, "of": self.total, "reused": reused}
        emit("end", **event, seconds=round(seconds, 3), counts=dict(counts), artifacts=dict(paths))
        for tally in _tallies:
            tally.computed += not reused
            tally.reused += reused
        if not (self.made or self.known):
            return
        shown = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in counts.items() if number)
        named = dict.fromkeys(about for stage, about in self.abouts if about and stage in own)
        about = ": ".join(filter(None, [", ".join(named), shown]))
        say(f"{self.head} {'reused  ' if reused else f'{seconds:6.1f} s'}  {about}".rstrip())


_running: list[Stage] = []
_tallies: list[Tally] = []


@contextmanager
def numbered(name: str, number: int, total: int) -> Iterator[Stage]:
    """Count the parts that are made in the block as the stage's; the block calls ``end``."""
    stage = Stage(name, number, total)
    emit("start", stage=name, number=number, of=total)
    live(f"{stage.head} ...")
    _running.append(stage)
    try:
        yield stage
    finally:
        clear()
        _running.remove(stage)


def part(
    name: str,
    about: str,
    path: object,
    *,
    seconds: float | None = None,
    summary: str = "",
    settings: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Tell that an artifact was made in ``seconds``, or reused; a detail if a numbered stage sums it up.

    Args:
        name: the stage that makes it.
        about: which model and which texts, if it is made of several.
        path: its folder.
        seconds: None if it was reused.
        summary: its counts.
        settings: what it was made with, a detail.
    """
    state = "reused  " if seconds is None else f"{seconds:6.1f} s"
    text = f"{name:<10} {state}   {': '.join(filter(None, [about, summary]))}".rstrip()
    if _running:
        stage = _running[-1]
        stage.made += seconds is not None
        stage.known += seconds is None
        stage.abouts.append((name, about))
        say(f"  {text}  {path}", "detail")
    else:
        say(text)
    if settings:
        say(f"    settings: {', '.join(_flat(settings, ''))}", "detail")


def _flat(value: object, key: str) -> Iterator[str]:
    """``key=value`` of every setting, as the command line takes them; without ``resources``, which change no result."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {} if type(value).__module__.startswith("gradret.config.") else {"name": name_of(value)}
        value = named | {each.name: getattr(value, each.name) for each in fields(value) if each.name != "resources"}
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)) and any(is_dataclass(item) or isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{key}[{number}]")
    elif isinstance(value, type):
        yield f"{key}={name_of(value)}"
    else:
        yield f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}"


@contextmanager
def tallied() -> Iterator[Tally]:
    """Count the stages of the block."""
    tally = Tally()
    _tallies.append(tally)
    try:
        yield tally
    finally:
        _tallies.remove(tally)
