"""``gradret submit``: run a config as a job on a Ray cluster, and follow its log."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.config.evaluation import is_evaluation, load_evaluation
from gradret.config.loading import load
from gradret.errors import ConfigError, StageError
from gradret.progress import say
from gradret.urls import is_url

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

__all__ = ["submit"]

_EXCLUDES = [".git", ".venv", "__pycache__"]
_INTERRUPTED = 130
_ATTEMPTS = 6
"""How often a refused job is submitted again, and a lost connection to the log opened again."""


def submit(path: str, overrides: Sequence[str], address: str) -> int:
    """Run ``gradret run`` or ``gradret evaluate`` as a Ray job; returns its exit code, or 130 if interrupted.

    The current folder travels with the job, except for what ``.gitignore`` names, so the config and the files that it
    names by relative paths must be in it. The job goes on if this process ends.

    Args:
        path: the config of a run or an evaluation, in the current folder.
        overrides: ``key=value``.
        address: of the cluster's dashboard, such as ``http://127.0.0.1:8265``.

    Raises:
        ConfigError: the config is wrong, or needs a folder that the job would not have.
        StageError: the cluster does not answer, or loses the job.
    """
    command = "evaluate" if is_evaluation(path) else "run"
    config = load_evaluation(path, overrides) if command == "evaluate" else load(path, overrides)
    _require_reachable(path, config)
    client = _client(address)
    job = _start(client, [command, os.path.relpath(path), *overrides], config.name)
    say(f"job {job}: {command} {config.name} at {address}")
    try:
        for text in _log(client, job):
            sys.stderr.write(text)
            sys.stderr.flush()
    except KeyboardInterrupt:
        say(f"job {job} goes on; follow it with: ray job logs --follow --address {address} {job}")
        return _INTERRUPTED
    return _exit_code(client, job)


def _require_reachable(path: str, config: Any) -> None:
    """Check that the job will see the config and share the storage.

    Raises:
        ConfigError: it will not.
    """
    here = Path.cwd().resolve()
    outside = [text for text in (path, *_relative_paths(config)) if here not in Path(text).resolve().parents]
    if outside:
        raise ConfigError(f"{outside[0]} is not in {here}, the folder that travels with the job; copy it there")
    if ignored := _ignored((path, *_relative_paths(config))):
        raise ConfigError(
            f"{ignored[0]} does not travel with the job, since .gitignore names it; put it on every node and name its "
            "absolute path, or exempt it in .gitignore with a line that begins with !"
        )
    if not (is_url(config.storage_path) or Path(config.storage_path).is_absolute()):
        raise ConfigError(
            "storage_path: must be a URL, or an absolute path that all nodes of the cluster share, got "
            f"{config.storage_path!r}; a relative one would be lost with the job's copy of this folder"
        )


def _ignored(paths: Iterable[str]) -> list[str]:
    """The files among ``paths``, and below them, that ``.gitignore`` names; none outside a git repository."""
    files = [str(file) for path in map(Path, paths) for file in (path, *path.rglob("*")) if file.is_file()]
    command = ["git", "check-ignore", "--no-index", "--stdin", "-z"]
    try:
        found = subprocess.run(command, input="\0".join(files), capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:  # no git
        return []
    return [file for file in found.stdout.split("\0") if file]


def _relative_paths(config: object) -> Iterator[str]:
    """Texts of the config that are relative paths of existing files or folders."""
    from dataclasses import fields, is_dataclass

    if is_dataclass(config):
        for field in fields(config):
            value = getattr(config, field.name)
            if field.metadata.get("location"):
                texts = value if isinstance(value, tuple) else (value or "",)
                yield from (text for text in texts if text and not Path(text).is_absolute() and Path(text).exists())
            else:
                yield from _relative_paths(value)
    elif isinstance(config, dict):
        for value in config.values():
            yield from _relative_paths(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _relative_paths(value)


def _client(address: str) -> JobSubmissionClient:
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.WARNING)
    try:
        return JobSubmissionClient(address)
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError) as error:
        text = str(error).partition("\n")[0]
        raise StageError(
            f"no Ray cluster answers at {address}: {text}; give the address of its dashboard, such as "
            "http://127.0.0.1:8265, and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN if it asks for a token"
        ) from error


def _start(client: JobSubmissionClient, arguments: list[str], name: str) -> str:
    """Submit the job; a head that has just started refuses jobs for a few seconds."""
    runtime_env = {"working_dir": str(Path.cwd()), "excludes": _EXCLUDES}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return client.submit_job(
                entrypoint=shlex.join(["gradret", *arguments]), runtime_env=runtime_env, metadata={"name": name}
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            failure = str(error).partition("\n")[0]
            if "try again" in failure:
                time.sleep(2 * attempt)
            else:
                break
    raise StageError(f"the cluster does not take the job: {failure}")


def _log(client: JobSubmissionClient, job: str) -> Iterator[str]:
    """Yield the job's output as it comes, until the job ends; opens a lost connection again."""
    printed, failures = 0, 0
    with asyncio.Runner() as runner:
        while failures < _ATTEMPTS:
            seen = 0
            stream = client.tail_job_logs(job)
            try:
                while (text := runner.run(anext(stream, None))) is not None:
                    new = text[max(0, printed - seen) :]
                    seen += len(text)
                    printed, failures = max(printed, seen), 0
                    yield new
            except (OSError, RuntimeError) as error:
                failures += 1
                say(f"  the connection to the log of job {job} was lost ({error}); trying again")
                time.sleep(failures)
            else:
                return
    raise StageError(f"the log of job {job} cannot be followed; ray job status {job} tells whether it still runs")


def _exit_code(client: JobSubmissionClient, job: str) -> int:
    info = client.get_job_info(job)
    code = info.driver_exit_code
    if code is None:
        raise StageError(f"job {job} ended as {info.status}: {info.message}")
    return int(code)
