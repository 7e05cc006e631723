"""Take turns where the kernel's locks do not reach: in object stores, and in shared folders that do not keep flock.

Who wants a turn adds a claim, a small file of its own, and lists the claims: alone, it has the turn; else it takes its
claim back and tries again later. Both of two may see the other and step back, but never is each alone. The owner
rewrites its claim every few seconds. A claim that has not changed for a minute, by the reader's own clock, is that of a
dead owner, and is deleted; on the owner's own machine, as soon as its process is gone.
"""

from __future__ import annotations

import functools
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from gradret.errors import StorageError
from gradret.store import objects
from gradret.store.atomic import atomic
from gradret.store.mirror import inside
from gradret.urls import Location, location

__all__ = ["BEAT", "EXPIRY", "Turn", "claimed"]

BEAT = 10.0
"""Seconds between the owner's signs of life."""
EXPIRY = 60.0
"""Seconds without one after which a claim is void."""
_POLL = 1.0


class Turn:
    """The owner's side of a claim."""

    def __init__(self) -> None:
        self.lost = threading.Event()

    def require(self) -> None:
        """Check that the turn is still this process's.

        Raises:
            StorageError: another run has taken over, since this one gave no sign of life for a minute.
        """
        if self.lost.is_set():
            raise StorageError(
                "another run has taken over this artifact, since this run did not reach the storage for "
                f"{EXPIRY:.0f} s; run the same command again"
            )


class _Place(Protocol):
    """A folder of claims."""

    def names(self) -> list[str]: ...
    def read(self, name: str) -> bytes | None: ...
    def write(self, name: str, content: bytes) -> None: ...
    def delete(self, name: str) -> None: ...


class _Objects:
    def __init__(self, folder: Location) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        return list(objects.listing(self.folder))

    def read(self, name: str) -> bytes | None:
        return objects.read(inside(self.folder, name))

    def write(self, name: str, content: bytes) -> None:
        objects.write(inside(self.folder, name), content)

    def delete(self, name: str) -> None:
        objects.delete(inside(self.folder, name))


class _Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        return [path.name for path in self.folder.glob("*.json") if not path.name.startswith(".")]

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic(self.folder / name) as draft:
            draft.write_bytes(content)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


@contextmanager
def claimed(
    folder: Path, waiting: Callable[[], None], *, beat: float = BEAT, expiry: float = EXPIRY, poll: float = _POLL
) -> Iterator[Turn]:
    """Wait for a turn, and keep others from it until the block ends.

    Args:
        folder: the folder of the claims, in a mirror or a shared folder.
        waiting: called once if another process has the turn.
        beat: seconds between signs of life.
        expiry: seconds without one after which another's claim is void.
        poll: seconds between looks at the claims.
    """
    place = location(folder)
    claims: _Place = _Objects(place) if place else _Files(folder)
    name, turn, ended = f"{uuid.uuid4().hex}.json", Turn(), threading.Event()
    _wait(claims, name, waiting, expiry, poll)
    keeper = threading.Thread(target=_keep, args=(claims, name, turn, ended, beat), daemon=True)
    keeper.start()
    try:
        yield turn
    finally:
        ended.set()
        keeper.join()
        with suppress(OSError):  # it expires
            claims.delete(name)


def _wait(claims: _Place, name: str, waiting: Callable[[], None], expiry: float, poll: float) -> None:
    """Return when the claim ``name`` is the only one."""
    seen: dict[str, tuple[bytes, float]] = {}
    said = False
    while True:
        if not _others(claims, name, seen, expiry):
            claims.write(name, _sign(0))
            if not _others(claims, name, seen, expiry):
                return
            claims.delete(name)
        elif not said:
            said = True
            waiting()
        time.sleep(poll * random.uniform(0.5, 1.5))  # noqa: S311


def _others(claims: _Place, name: str, seen: dict[str, tuple[bytes, float]], expiry: float) -> list[str]:
    """The claims of others that are alive; deletes those that are not."""
    alive = []
    for other in claims.names():
        content = claims.read(other) if other != name else None
        if content is None:
            continue
        if other not in seen or seen[other][0] != content:
            seen[other] = (content, time.monotonic())
        if time.monotonic() - seen[other][1] >= expiry or _is_dead_here(content):
            claims.delete(other)
        else:
            alive.append(other)
    return alive


def _keep(claims: _Place, name: str, turn: Turn, ended: threading.Event, beat: float) -> None:
    """Give signs of life until the turn ends, or until another has taken it."""
    number = 0
    while not ended.wait(beat):
        number += 1
        with suppress(OSError):  # the store may be busy; the next sign may arrive
            if claims.read(name) is None:
                turn.lost.set()
                return
            claims.write(name, _sign(number))


def _sign(number: int) -> bytes:
    return json.dumps({"machine": _machine(), "pid": os.getpid(), "started": _started(), "beat": number}).encode()


def _is_dead_here(content: bytes) -> bool:
    """Whether a claim is of a process of this machine that has ended."""
    import psutil

    try:
        owner = json.loads(content)
        return bool(owner["machine"] == _machine() and _started(owner["pid"]) != owner["started"])
    except (ValueError, KeyError, TypeError, psutil.Error):
        return False


def _started(pid: int | None = None) -> float | None:
    """When a process started, by default this one; None if there is no such process."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


@functools.cache
def _machine() -> str:
    """A name of this machine and its process numbers, which containers have of their own."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').stat().st_ino}"
