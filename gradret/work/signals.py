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

__all__ = ["Terminated", "in_thread", "kept_handlers", "raised_signals"]


class Terminated(KeyboardInterrupt):
    """The process got SIGTERM, with which schedulers stop a job."""


@contextmanager
def raised_signals() -> Iterator[None]:
    """Raise ``Terminated`` in the main thread on SIGTERM, as Python raises KeyboardInterrupt on SIGINT."""
    terminated = threading.Event()

    def terminate(_number: int, _frame: FrameType | None) -> NoReturn:
        terminated.set()
        raise Terminated

    with kept_handlers():
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        except KeyboardInterrupt as error:
            if terminated.is_set() and not isinstance(error, Terminated):
                raise Terminated from error  # ray.get drops what a handler raised and raises KeyboardInterrupt
            raise


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
