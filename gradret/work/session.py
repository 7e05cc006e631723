"""The Ray session: a running cluster if one is named, otherwise a local instance that stops with this process."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gradret.errors import StageError
from gradret.work.reaper import guard

__all__ = ["connect", "cores", "session"]

# Off a terminal Ray's own lines drown ours; its warnings about idle CPUs do not concern a user.
_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def connect(*, dashboard: bool = False) -> None:
    """Join the cluster that ``RAY_ADDRESS`` or a Ray job names, or start Ray here, once.

    Args:
        dashboard: start Ray's dashboard with it, on this machine's own address: what a trial held that was
            stopped is given back only where Ray Train can ask there whether the trial lives.

    Raises:
        StageError: the named cluster cannot be reached.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "configure_logging": False, "log_to_driver": False}
    if os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(**quiet)
        except ConnectionError as error:
            address = os.environ["RAY_ADDRESS"]
            raise StageError(f"no Ray cluster answers at RAY_ADDRESS={address}: {error}") from error
    else:
        # Ray's default of 15 starves its workers beside anything else that runs on the machine.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # What a worker started ends with the worker: vLLM's engine process, for one.
        os.environ.setdefault("RAY_process_group_cleanup_enabled", "true")
        # More logical than real CPUs: the actors of one pipeline must never wait for each other's.
        with _silenced():
            ray.init(address="local", num_cpus=max(4, 2 * cores()), include_dashboard=dashboard, **quiet)
        guard()
    atexit.register(ray.shutdown)
    _quiet_data()


@contextmanager
def session() -> Iterator[None]:
    """Stop, at the end, the Ray session that began inside; leave alone one that ran before."""

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
    """Without the greetings that Ray's C++ core writes while it starts; failures still raise."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _quiet_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.llm", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
