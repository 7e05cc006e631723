"""Follow a training on the driver: its progress, its dev measures and its curve."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import StorageError
from gradret.progress import Progress
from gradret.store.mirror import current_text, fetched
from gradret.work import metrics

if TYPE_CHECKING:
    from gradret.training.loop import Job
    from gradret.training.trackers import Curve

__all__ = ["ProgressWatcher", "Watcher", "last_lines"]

Watcher = Callable[[dict[str, Any]], None]
"""Called with the dev measures soon after each epoch."""


class ProgressWatcher:
    """Shows the progress that the workers write to the metrics file, and sends it to the trackers."""

    def __init__(self, job: Job, queries: int, watch: Watcher | None, curve: Curve) -> None:
        from gradret.training.checkpoint import steps_done

        self.job, self.watch, self.curve, self.stop = job, watch, curve, threading.Event()
        batches = math.ceil(queries / job.settings.batch_size)
        steps = math.ceil(batches / job.settings.accumulate) * job.settings.epochs
        self.progress = Progress(job.settings.key, steps, "steps")
        self.progress.skip(steps_done(fetched(job.work / "last.safetensors")))
        self.progress.say_resumed()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, error: object, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.progress.close()
        self.curve.send(_text(self.job.metrics))
        self.curve.close(failed=error is not None)

    def _run(self) -> None:
        while not self.stop.wait(1.0):
            text = _text(self.job.metrics)
            self.curve.send(text)
            last, dev = last_lines(text)
            if dev and self.watch:
                self.watch(dev)
            if last:
                metrics.loss(self.job.settings.key, last["loss"])
            note = f", loss {last['loss']:.4f}" if last else ""
            note += f", {_dev_note(dev)}" if dev else ""
            self.progress.add((last["step"] if last else 0) - self.progress.done, note)


def _dev_note(dev: dict[str, Any]) -> str:
    return f"dev nDCG@10 {dev['dev_ndcg']:.4f}" if "dev_ndcg" in dev else f"dev loss {dev['dev_loss']:.4f}"


def _text(metrics: Path) -> str:
    try:
        return current_text(metrics)
    except StorageError:  # the store may be busy
        return ""


def last_lines(text: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The last training line and the last dev line."""
    last = dev = None
    for line in reversed(text.splitlines()):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        last = last or (values if "loss" in values else None)
        dev = dev or (values if "dev_loss" in values else None)
        if last and dev:
            break
    return last, dev
