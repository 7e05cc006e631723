"""Connect to Ray: to a running cluster if one is set, otherwise start a local instance that stops with this process."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradret.errors import StageError
from gradret.progress import unsilenced, waiting
from gradret.work.confined import confined
from gradret.work.raylet import watch_raylet
from gradret.work.reaper import MARK, PREFIX
from gradret.work.signals import Terminated, kept_handlers

__all__ = ["connect", "cores", "is_local", "session"]

# Ray's log lines would drown gradret's, and its warnings about idle CPUs do not concern a user.
_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
}

_UNLOGGED: dict[str, Any] = {"logging_level": logging.ERROR, "configure_logging": False, "log_to_driver": False}


_CONNECT_SECONDS = 10.0
_started: set[str] = set()
"""Addresses of the Rays that this process has started."""


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def connect(*, dashboard: bool = False) -> None:
    """Connect to the cluster of ``RAY_ADDRESS`` or of the Ray job, or start Ray locally, if not done before.

    Args:
        dashboard: start Ray's dashboard too, on localhost: Ray Train asks it whether a stopped trial is alive, and
            only then frees the trial's resources.

    Raises:
        StageError: the cluster cannot be reached, or Ray does not start.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    with kept_handlers():
        try:
            address = os.environ.get("RAY_ADDRESS")
            with waiting(f"waits for {f'the Ray cluster at {address}' if address else 'Ray to start on this machine'}"):
                _join(address) if address else _start(dashboard=dashboard)
        except SystemExit as error:
            raise Terminated from error  # Ray's own handler of SIGTERM, in place while it starts
    atexit.register(ray.shutdown)
    _quiet_data()


def is_local() -> bool:
    """Whether the Ray of this process, a driver or a worker, is one that gradret starts on one machine."""
    import ray

    marked = Path(os.environ.get(MARK, "")).name.startswith(PREFIX)
    if not ray.is_initialized():
        return marked or not os.environ.get("RAY_ADDRESS")
    return marked or ray.get_runtime_context().gcs_address in _started


def _join(address: str) -> None:
    import ray

    try:
        _check_listens(address)
        ray.init(**_UNLOGGED)
    except (OSError, RuntimeError, ValueError) as error:
        what = " ".join(str(error).split())
        raise StageError(
            f"cannot connect to a Ray cluster at RAY_ADDRESS={address}: {what}; start the cluster, correct "
            "RAY_ADDRESS, or unset it to use this machine alone"
        ) from error


def _check_listens(address: str) -> None:
    """Raise OSError if nothing listens at ``HOST:PORT``: Ray would wait for it for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isascii() and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


def _start(*, dashboard: bool) -> None:
    """Start Ray on this machine; once more if a busy machine takes longer than Ray's fixed 30 seconds."""
    import ray

    # With Ray's default of 15, any other process on the machine starves its workers.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # End the processes that a worker started, such as vLLM's engine, when the worker ends.
    os.environ.setdefault("RAY_process_group_cleanup_enabled", "true")
    # This machine gives no notice of its end, so no process of Ray Train needs to wait for one.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # More logical CPUs than cores, so that the actors of a pipeline never wait for each other's CPUs.
    settings = {"address": "local", "num_cpus": max(4, 2 * cores()), "include_dashboard": dashboard, **_UNLOGGED}
    for last in (False, True):
        try:
            with _silenced(), confined():
                ray.init(**settings)
            _started.add(ray.get_runtime_context().gcs_address)
            watch_raylet()
            break
        except Exception as error:
            ray.shutdown()
            if last:
                raise StageError(f"cannot start Ray on this machine: {error}") from error


@contextmanager
def session() -> Iterator[None]:
    """Shut Ray down at the end if it was started inside the block."""

    def running() -> bool:
        ray = sys.modules.get("ray")
        return bool(ray and ray.is_initialized())

    before = running()
    try:
        yield
    finally:
        if running() and not before:
            import ray

            ray.shutdown()


@contextmanager
def _silenced() -> Iterator[None]:
    """Discard what Ray's C++ core prints on start-up; failures still raise."""
    sys.stderr.flush()
    stderr = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        with os.fdopen(stderr, "w", closefd=False) as stream, unsilenced(stream):
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def _quiet_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.llm", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
