"""Keep a local Ray to this machine and this user: its servers listen on 127.0.0.1 and demand a token.

Without this Ray listens on every interface, and takes the token of the user's home, whose file others may read.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradret.work.reaper import MARK, PREFIX, end, guard

__all__ = ["confined"]


@contextmanager
def confined() -> Iterator[None]:
    """Confine the Ray that starts inside the block, and leave this process's environment as it was.

    Ray's processes keep the settings of the moment they were started. Its token's file, which only this user can read,
    stays as long as Ray does; ``gradret.work.reaper`` removes it, with all that Ray leaves behind.
    """
    token = _write_token()
    watcher = guard(token)
    # SPT_NOENV: a process that Ray gives a title must keep its environment readable, by which the reaper finds it.
    settings = {"RAY_AUTH_MODE": "token", MARK: str(token), "GLOO_SOCKET_IFNAME": _loopback(), "SPT_NOENV": "1"}
    try:
        with _environment(settings, without="RAY_AUTH_TOKEN"), _local_address():
            _forget_token()
            yield
    except BaseException:
        watcher.terminate()
        end(token)
        raise


def _write_token() -> Path:
    """A file with a token of 256 bits; mkstemp lets only its owner read it."""
    descriptor, name = tempfile.mkstemp(prefix=PREFIX)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return Path(name)


def _loopback() -> str:
    """Name of the interface that holds 127.0.0.1, where torch's workers meet."""
    import psutil

    interfaces: dict[str, list[Any]] = psutil.net_if_addrs()
    return next(name for name, each in interfaces.items() if any(address.address == "127.0.0.1" for address in each))


@contextmanager
def _environment(settings: Mapping[str, str], without: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in [*settings, without]}
    os.environ.pop(without, None)
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _local_address() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for the node's address, as it does on desktops: then all its servers bind to it."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _forget_token() -> None:
    """Ray's core reads the mode and the token once in a process."""
    from ray import _raylet

    core: Any = _raylet  # its type stubs lack both
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()
