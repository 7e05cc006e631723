"""The training loop, as every worker runs it: epochs, dev loss, best checkpoint, early stopping."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from gradret.artifacts import read_shard
from gradret.errors import DataError
from gradret.session import cores
from gradret.training.batches import Groups
from gradret.training.checkpoint import load_checkpoint, save_checkpoint
from gradret.training.step import Objective, backward, evaluate
from gradret.training.tokens import Tokens

if TYPE_CHECKING:
    import numpy as np

    from gradret.config import Train

__all__ = ["Job", "load_student", "train_loop"]

_TOKENS = ("docs", "train", "dev")


@dataclass(frozen=True)
class Job:
    """What a worker needs to know."""

    settings: Train
    seed: int
    model: Path
    """The sentence-transformers folder to start from."""
    work: Path
    """Holds ``{train,dev}.parquet``, ``doc_ids.json``, ``tokens/`` and the checkpoints."""
    metrics: Path
    """JSON lines, one a step."""


def train_loop(job: Job) -> None:
    """Train until the last epoch, or until ``patience`` epochs in a row were no better on the dev queries.

    Leaves ``last.safetensors`` after every epoch and ``best.safetensors``, the weights that
    ``choose_by`` prefers. Started again, it goes on after the last epoch that is whole.
    """
    torch.set_num_threads(job.settings.resources.threads or cores())
    torch.manual_seed(job.seed)
    training = _Training(job)
    while not training.done:
        training.epoch()


class _Training:
    def __init__(self, job: Job) -> None:
        settings = job.settings
        self.job, self.settings = job, settings
        self.main = not distributed.is_initialized() or distributed.get_rank() == 0
        doc_ids = json.loads((job.work / "doc_ids.json").read_text(encoding="utf-8"))
        self.groups = {
            split: Groups(read_shard(job.work / f"{split}.parquet", "groups"), doc_ids, settings.list_length, job.seed)
            for split in ("train", "dev")
        }
        self.docs = Tokens(job.work / "tokens" / "docs")
        self.queries = {split: Tokens(job.work / "tokens" / split) for split in ("train", "dev")}
        self.student = load_student(job)
        self.objective = Objective([loss.load() for loss in settings.loss], [loss.weight for loss in settings.loss])
        self.parameters = [*self.student.parameters(), *self.objective.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=settings.learning_rate, fused=True)
        self.steps = self.groups["train"].steps(settings.batch_size) * settings.epochs
        self.progress: dict[str, Any] = {"epoch": 0, "step": 0, "best": None, "best_epoch": -1}
        if not self._resume():
            self._log(epoch=0, step=0, **self._dev())

    @property
    def done(self) -> bool:
        epoch: int = self.progress["epoch"]
        waited: int = epoch - 1 - self.progress["best_epoch"]
        return epoch >= self.settings.epochs or (epoch > 0 and waited >= self.settings.patience)

    def epoch(self) -> None:
        epoch = self.progress["epoch"]
        for batch in self.groups["train"].epoch(epoch, self.settings.batch_size):
            self.optimizer.zero_grad(set_to_none=True)
            queries, chunk_size = self.queries["train"], self.settings.resources.chunk_size
            loss = backward(self.student, self.objective, batch, queries, self.docs, chunk_size=chunk_size)
            self._refuse_not_finite(loss, batch.queries_Q)
            rate = self._rate(self.progress["step"])
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.progress["step"] += 1
            self._log(epoch=epoch, step=self.progress["step"], loss=loss, learning_rate=rate)
        self._finish_epoch(self._dev())

    def _finish_epoch(self, dev: dict[str, float]) -> None:
        epoch, best = self.progress["epoch"], self.progress["best"]
        self._log(epoch=epoch, step=self.progress["step"], **dev)
        better = best is None or self._goodness(dev) > self._goodness(best)
        if better:
            self.progress |= {"best": dev, "best_epoch": epoch}
        self.progress["epoch"] = epoch + 1
        if self.main:
            if better:
                save_checkpoint(self.job.work / "best.safetensors", self._weights(), self.progress)
            save_checkpoint(self.job.work / "last.safetensors", self._weights() | self._moments(), self.progress)

    def _goodness(self, dev: dict[str, float]) -> float:
        return dev["dev_ndcg"] if self.settings.choose_by == "dev_ndcg" else -dev["dev_loss"]

    def _dev(self) -> dict[str, float]:
        """Mean loss and mean nDCG@10 over the dev queries, in batches of stored order."""
        losses = ndcgs = 0.0
        dev = self.groups["dev"]
        for batch in dev.in_order(self.settings.batch_size):
            queries, chunk_size = self.queries["dev"], self.settings.resources.chunk_size
            loss, ndcg = evaluate(self.student, self.objective, batch, queries, self.docs, chunk_size=chunk_size)
            losses += loss * len(batch.queries_Q)
            ndcgs += ndcg * len(batch.queries_Q)
        return {"dev_loss": losses / len(dev), "dev_ndcg": ndcgs / len(dev)}

    def _rate(self, step: int) -> float:
        """Linear warm-up from 0, then linear decay to ``floor`` of the learning rate."""
        warm = max(1, math.ceil(self.settings.warmup * self.steps))
        if step < warm:
            return self.settings.learning_rate * (step + 1) / warm
        left = (self.steps - step) / max(1, self.steps - warm)
        return self.settings.learning_rate * (self.settings.floor + (1 - self.settings.floor) * left)

    def _refuse_not_finite(self, loss: float, queries: Any) -> None:
        if not math.isfinite(loss):
            first = self.groups["train"].query_ids[int(queries[0])]
            raise DataError(f"the loss became {loss} in the batch that begins with query {first!r}")

    def _weights(self) -> dict[str, torch.Tensor]:
        return {f"parameter.{number}": parameter for number, parameter in enumerate(self.parameters)}

    def _moments(self) -> dict[str, torch.Tensor]:
        states = self.optimizer.state_dict()["state"]
        return {f"adam.{number}.{key}": value for number, state in states.items() for key, value in state.items()}

    def _resume(self) -> bool:
        found = load_checkpoint(self.job.work / "last.safetensors")
        if found is None:
            if self.main:
                self.job.metrics.unlink(missing_ok=True)
            return False
        tensors, self.progress = found
        restore(self.parameters, tensors)
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, number, key = name.split(".")
                states.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": states})
        if self.main:
            _drop_after(self.job.metrics, self.progress["epoch"])
        return True

    def _log(self, **values: float) -> None:
        if self.main:
            with self.job.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")


def load_student(job: Job) -> Any:
    """The model to train, with the parameters that the training's tokens touch."""
    student = job.settings.encoder.student(job.model)
    student.restrict(used_tokens(job.work))
    return student


def used_tokens(work: Path) -> np.ndarray:
    """Ids of all tokens of the training's texts, ascending."""
    import numpy as np

    used: np.ndarray = np.unique(np.concatenate([np.unique(Tokens(work / "tokens" / name).ids) for name in _TOKENS]))
    return used


def restore(parameters: list[torch.nn.Parameter], tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy a checkpoint's weights into ``parameters``."""
    with torch.no_grad():
        for number, parameter in enumerate(parameters):
            parameter.copy_(tensors[f"parameter.{number}"])


def _drop_after(metrics: Path, epoch: int) -> None:
    """Take back the lines of an epoch that will be run again."""
    lines = metrics.read_text(encoding="utf-8").splitlines()
    kept: list[str] = []
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:
            # The worker was killed while it wrote this line.
            continue
        if values["epoch"] < epoch:
            kept.append(line)
    draft = metrics.with_name(f".{metrics.name}")
    draft.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    draft.replace(metrics)
