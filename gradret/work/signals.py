"""SIGINT and SIGTERM end a run the same way in every stage.

Ray replaces both handlers: Ray Train's stays in place after the training and ignores SIGINT, and Ray's own ends the
process inside its C++ core on SIGTERM.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["Terminated", "in_thread", "kept_handlers", "raise_missed", "raised_signals"]

_raised: list[KeyboardInterrupt] = []
"""What the handlers raised last, while ``raised_signals`` waits for it."""


class Terminated(KeyboardInterrupt):
    """The process got SIGTERM, with which schedulers stop a job."""


@contextmanager
def raised_signals() -> Iterator[None]:
    """Raise ``Terminated`` in the main thread on SIGTERM, and KeyboardInterrupt on SIGINT."""

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        _raised[:] = [Terminated() if number == signal.SIGTERM else KeyboardInterrupt()]
        raise _raised[0]

    with kept_handlers():
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, interrupt)
            signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        except KeyboardInterrupt as error:
            if _raised and not isinstance(error, type(_raised[0])):
                raise _raised[0] from error  # ray.get drops what a handler raised and raises KeyboardInterrupt
            raise
        finally:
            _raised.clear()


def raise_missed() -> None:
    """Raise again what a handler raised where Python ignores it, such as in the callback of a weak reference."""
    if _raised:
        raise _raised[0]


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Put both handlers back at the end; only the main thread has any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_thread(call: Callable[[], object]) -> None:
    """Call in a thread of its own, where a library can set no handlers, and wait; its errors are raised here."""
    errors: list[BaseException] = []

    def _run() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=_run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
