"""Send the training curve to MLflow or Weights & Biases, from the driver: workers need neither package nor login."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from gradret.errors import ConfigError, StageError
from gradret.progress import say

__all__ = ["TRACKERS", "Curve", "Tracker", "open_trackers", "require_trackers"]

Rows = Sequence[tuple[int, Mapping[str, float]]]
"""Steps and the values of each."""


class Tracker(Protocol):
    """A run of an experiment tracker."""

    def log(self, rows: Rows) -> None:
        """Record values by step."""

    def close(self, *, failed: bool) -> None:
        """End the run."""


class _Mlflow:
    """A run of MLflow; ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME`` say where."""

    def __init__(self, artifact: str, settings: Mapping[str, str]) -> None:
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient()
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "gradret")
        found = self.client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else self.client.create_experiment(experiment)
        begun = self.client.search_runs([place], f"tags.`gradret.artifact` = '{artifact}'")
        unfinished = [run for run in begun if run.info.status != "FINISHED"]
        run = unfinished[0] if unfinished else self._begin(place, artifact, settings)
        self.run_id = run.info.run_id
        self.client.update_run(self.run_id, status="RUNNING")
        # A resumed training reads its whole curve again.
        self.known = {
            (name, metric.step)
            for name in run.data.metrics
            for metric in self.client.get_metric_history(self.run_id, name)
        }

    def _begin(self, place: str, artifact: str, settings: Mapping[str, str]) -> Any:
        run = self.client.create_run(place, run_name=artifact, tags={"gradret.artifact": artifact})
        for name, value in settings.items():
            self.client.log_param(run.info.run_id, name, value)
        return run

    def log(self, rows: Rows) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = [(step, name, value) for step, values in rows for name, value in values.items()]
        metrics = [Metric(name, value, now, step) for step, name, value in new if (name, step) not in self.known]
        for start in range(0, len(metrics), 1000):  # MLflow takes no more at once
            self.client.log_batch(self.run_id, metrics=metrics[start : start + 1000])

    def close(self, *, failed: bool) -> None:
        self.client.set_terminated(self.run_id, status="FAILED" if failed else "FINISHED")


class _Wandb:
    """A run of Weights & Biases; ``WANDB_PROJECT`` and its other variables say where."""

    def __init__(self, artifact: str, settings: Mapping[str, str]) -> None:
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "gradret"),
            id=artifact.replace("/", "-"),
            name=artifact,
            resume="allow",
            config=dict(settings),
        )

    def log(self, rows: Rows) -> None:
        for step, values in rows:
            self.run.log(dict(values), step=step)

    def close(self, *, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))


TRACKERS: dict[str, Callable[[str, Mapping[str, str]], Tracker]] = {"mlflow": _Mlflow, "wandb": _Wandb}
"""Trackers by the name of their package."""


def require_trackers(names: Sequence[str]) -> None:
    """Check that the packages are installed on this machine.

    Raises:
        ConfigError: one is not.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"train.resources.trackers: {', '.join(missing)} not installed on the machine that starts the run; "
            f"pip install {' '.join(missing)}, or leave it out"
        )


def open_trackers(names: Sequence[str], artifact: str, settings: Mapping[str, Any]) -> list[Tracker]:
    """Begin a run in each tracker, or go on with that of a training that was killed.

    Args:
        names: keys of ``TRACKERS``.
        artifact: ``train/FINGERPRINT``, the name of the run.
        settings: the settings of the training.

    Raises:
        StageError: a tracker cannot be reached or refuses.
    """
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    found = []
    for name in names:
        try:
            found.append(TRACKERS[name](artifact, texts))
        except Exception as error:
            raise StageError(
                f"train: {name} cannot begin a run ({type(error).__name__}: {error}); check its address and login, or "
                "leave it out of train.resources.trackers"
            ) from error
    return found


class Curve:
    """Sends each line of ``metrics.jsonl`` once; a tracker that fails is left out, and the training goes on."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers, self.sent = list(trackers), 0

    def send(self, text: str) -> None:
        """Send what is new in ``text``, the content of the file so far, up to its last whole line.

        A training that Ray restarts drops lines and writes the same ones again, which are not sent twice.
        """
        lines = text[: text.rfind("\n") + 1].splitlines()
        rows = []
        for line in lines[self.sent :]:
            with suppress(ValueError):  # the worker was killed while it wrote this line
                values = json.loads(line)
                rows.append((values.pop("step"), values))
        if rows:
            self.sent = len(lines)
            self._each(lambda tracker: tracker.log(rows))

    def close(self, *, failed: bool) -> None:
        """End the runs."""
        self._each(lambda tracker: tracker.close(failed=failed))

    def _each(self, action: Callable[[Tracker], None]) -> None:
        for tracker in list(self.trackers):
            try:
                action(tracker)
            except Exception as error:
                self.trackers.remove(tracker)
                name = type(tracker).__name__.strip("_").lower()
                say(f"  train: {name} failed ({type(error).__name__}: {error}); the training goes on without it")
