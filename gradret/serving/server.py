"""Start the server of a run on this machine and end it on Ctrl-C."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from gradret.commands.lookup import Lookup
from gradret.errors import ConfigError, StageError
from gradret.serving.access import digest, is_loopback
from gradret.serving.front import Rules
from gradret.serving.searcher import about, systems_of
from gradret.work.session import connect, cores, session

__all__ = ["Options", "serve"]

_TOKEN = "GRADRET_SERVE_TOKEN"  # noqa: S105 - the name of a variable
_SHORTEST = 16
"""Characters of a token."""


@dataclass(frozen=True)
class Options:
    """Where to listen, and how much."""

    host: str = "127.0.0.1"
    port: int = 8000
    replicas: int = 1
    """Processes that search, each on a core."""
    client_rate: float = 20.0
    """Requests a second of one client."""
    total_rate: float = 200.0
    """Requests a second of all clients."""


def serve(run: Path, options: Options) -> None:
    """Serve a finished run until the process is interrupted.

    Raises:
        ConfigError: the run is not finished, the address cannot be used, or Ray Serve is not installed.
        StageError: Ray or a replica does not start.
        StorageError: a file of the run is missing or damaged.
    """
    token, made = _token(options.host)
    _check(options)
    told = about(run)
    Lookup(run, systems_of(run))  # its errors are clearer here than from a replica
    try:
        with session():
            _start(run, told, options, digest(token) if token else None)
            print(_line(told, options), flush=True)
            if made:
                print(f"token, shown only now: {token}", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped", flush=True)


def _check(options: Options) -> None:
    missing = [name for name in ("grpc_reflection", "uvicorn") if not importlib.util.find_spec(name)]
    if missing:
        raise ConfigError(f"gradret serve: {', '.join(missing)} not installed; pip install 'gradret[cpu,serve]'")
    if os.environ.get("RAY_ADDRESS"):
        raise ConfigError("gradret serve starts a Ray of its own on this machine; unset RAY_ADDRESS")
    if options.replicas > cores():
        raise ConfigError(f"--replicas {options.replicas}: expected at most {cores()}, one for each core")
    try:
        family, kind, _, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {options.host}, port {options.port}: {error.strerror}; choose another --host or --port"
        ) from error


def _token(host: str) -> tuple[str, bool]:
    """The token, empty for none, and whether it was made here; removed from the environment, which workers inherit.

    Raises:
        ConfigError: the token is too short.
    """
    token = os.environ.pop(_TOKEN, "")
    if token and len(token) < _SHORTEST:
        raise ConfigError(f"{_TOKEN}: expected at least {_SHORTEST} characters, came {len(token)}")
    made = not token and not is_loopback(host)
    return (secrets.token_urlsafe(32) if made else token), made


def _start(run: Path, told: dict[str, object], options: Options, token: bytes | None) -> None:
    connect()
    from ray import serve as ray_serve

    from gradret.serving.deployment import application

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    # Ray's access log would hold the addresses of requests, and with them their queries.
    quiet = {"enable_access_log": False, "log_level": "ERROR"}
    rules = Rules(options.host, token, options.client_rate, options.total_rate)
    try:
        ray_serve.start(
            proxy_location="HeadOnly",
            http_options={"host": options.host, "port": options.port, "request_timeout_s": 30},
            logging_config=quiet,
        )
        app = application(str(run.absolute()), told, rules, options.replicas)
        ray_serve.run(app, name="gradret", logging_config=quiet)
    except RuntimeError as error:
        what = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise StageError(f"Ray Serve does not start: {what[0].strip()}") from error


def _line(told: dict[str, object], options: Options) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    systems = told["systems"]
    assert isinstance(systems, list)
    return (
        f"serving {told['run']} ({told['documents']:,} documents; {', '.join(systems)}) "
        f"at http://{host}:{options.port}/; Ctrl-C ends it"
    )
