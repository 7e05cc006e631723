"""The training loop that every worker runs: epochs, dev measures, best checkpoint, early stopping."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed

from gradret.config.train import Train
from gradret.errors import DataError
from gradret.models.similarity import similarity
from gradret.store.artifacts import read_shard
from gradret.store.atomic import write_text
from gradret.store.mirror import fetched, publish
from gradret.training.batches import Groups, Pairs
from gradret.training.checkpoint import load_checkpoint, restore, save_checkpoint
from gradret.training.dev import measure, measure_lists
from gradret.training.matryoshka import Matryoshka, prefix_weights
from gradret.training.objective import Objective, lists
from gradret.training.step import Texts, backward, encode
from gradret.training.tokens import Tokens, read_ids
from gradret.work.session import cores

if TYPE_CHECKING:
    from gradret.config.train_teacher import TrainTeacher
    from gradret.losses import Lists
    from gradret.training.batches import Batch

__all__ = ["Job", "load_lists", "load_losses", "load_student", "train_loop"]

_TOKENS = ("docs", "train", "dev")
_CALIBRATION_LISTS = 1000


@dataclass(frozen=True)
class Job:
    """The inputs of a training worker."""

    settings: Train | TrainTeacher
    seed: int
    model: Path
    """The folder of the model to start from."""
    work: Path
    """Folder of ``{train,dev}.parquet``, ``doc_ids.arrow``, ``sample.npy``, ``tokens/`` and the checkpoints."""
    metrics: Path
    """JSON lines file, one line per step; TensorBoard files go to the folder ``tensorboard`` next to it."""

    @property
    def device(self) -> str:
        """Device of the student."""
        return "cuda" if self.settings.resources.gpus else "cpu"


def train_loop(job: Job) -> None:
    """Train until the last epoch, or until ``patience`` epochs in a row did not improve on the dev queries.

    Writes ``last.safetensors`` after every epoch, and ``best.safetensors``, the weights that ``choose_by``
    keeps; the untrained weights are a candidate unless it is ``last``. A restarted training resumes from
    ``last.safetensors``.

    Raises:
        DataError: the loss became NaN or infinite, or a checkpoint is from another model.
    """
    torch.set_num_threads(job.settings.resources.threads or cores())
    torch.manual_seed(job.seed)
    training = _Training(job)
    while not training.done:
        training.epoch()
    training.close()


class _Training:
    def __init__(self, job: Job) -> None:
        settings = job.settings
        self.job, self.settings = job, settings
        self.main = not distributed.is_initialized() or distributed.get_rank() == 0
        self.groups = {split: load_lists(job, split) for split in ("train", "dev")}
        docs = Tokens(job.work / "tokens" / "docs")
        self.texts = {
            split: Texts(Tokens(job.work / "tokens" / split), docs, settings.resources.chunk_size, job.seed)
            for split in ("train", "dev")
        }
        # The loss that chooses compares lists only, and so does a cross-encoder: nothing else need be encoded.
        ranked = settings.choose_by != "dev_loss" and not settings.pairs
        self.sample = np.load(job.work / "sample.npy") if ranked else None
        self.student = load_student(job)
        self.steps_per_epoch = self.groups["train"].steps(settings.batch_size, settings.accumulate)
        self.steps = self.steps_per_epoch * settings.epochs
        last = load_checkpoint(fetched(job.work / "last.safetensors", anew=True))
        self.progress: dict[str, Any] = last[1] if last else self._begin()
        self.log = _Log(job.metrics, self.progress if last else None) if self.main else None
        # What the dev pass computes too: the epoch is chosen by full vectors.
        self.objective = Objective(self._losses()).to(job.device)
        self.loss = self._with_prefixes()
        self.parameters = {f"student.{n}": parameter for n, parameter in enumerate(self.student.parameters())}
        self.parameters |= {f"loss.{name}": parameter for name, parameter in self.objective.named_parameters()}
        self.optimizer = self._optimizer()
        if last:
            self._resume(last[0])
        else:
            self._restore_losses()
            self._record(self._evaluate_dev())

    @property
    def done(self) -> bool:
        epoch: int = self.progress["epoch"]
        without_improvement: int = epoch - self.progress["best_epoch"]
        return epoch >= self.settings.epochs or without_improvement >= self.settings.patience

    def epoch(self) -> None:
        epoch, groups = self.progress["epoch"], self.groups["train"]
        done = self.progress["step"] - epoch * self.steps_per_epoch
        batches = groups.epoch(epoch, self.settings.batch_size, start=done * self.settings.accumulate)
        while together := list(islice(batches, self.settings.accumulate)):
            self._step(together)
            every = self.settings.resources.checkpoint_every
            if every and self.progress["step"] % every == 0:
                self._save("last")
        self.progress["epoch"] = epoch + 1
        self._record(self._evaluate_dev())

    def close(self) -> None:
        if self.log:
            self.log.close()
            self.log.publish()

    def _step(self, batches: Sequence[Batch]) -> None:
        step, settings = self.progress["step"], self.settings
        self.optimizer.zero_grad(set_to_none=True)
        loss = backward(self.student, self.loss, batches, self.texts["train"], step * settings.accumulate)
        masked = sum(batch.masked_2M.shape[1] for batch in batches)
        if not math.isfinite(loss):
            first = self.groups["train"].query_ids[int(batches[0].queries_Q[0])]
            raise DataError(
                f"the loss became {loss} in step {step + 1}, in the batch that starts with query {first!r}; "
                f"lower {settings.key}.learning_rate, or set {settings.key}.max_grad_norm=1"
            )
        values = {"loss": loss, "learning_rate": self._rate(step), "masked": masked}
        if settings.max_grad_norm:
            norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), settings.max_grad_norm)
            values["grad_norm"] = float(norm)
        for group in self.optimizer.param_groups:
            group["lr"] = values["learning_rate"] * group["share"]
        self.optimizer.step()
        self.progress["step"] += 1
        self.progress["masked"] += masked
        self._write(**values)

    def _record(self, dev: dict[str, float]) -> None:
        """Log the current weights' dev measures, and save a checkpoint."""
        self._write(**dev)
        if self._is_better(dev, self.progress["best"]):
            self.progress |= {"best": dev, "best_epoch": self.progress["epoch"]}
            self._save("best")
        self._save("last")

    def _is_better(self, dev: dict[str, float], best: dict[str, float] | None) -> bool:
        """Whether the current weights are to be kept in place of the best ones so far."""
        choose_by = self.settings.choose_by
        if best is None or choose_by == "last":
            return True
        return dev["dev_loss"] < best["dev_loss"] if choose_by == "dev_loss" else dev["dev_ndcg"] > best["dev_ndcg"]

    def _evaluate_dev(self) -> dict[str, float]:
        """Return the dev measures, the same on all workers."""
        dev, texts = self.groups["dev"], self.texts["dev"]
        size = self.settings.batch_size
        if self.settings.pairs:
            measures = measure_lists(self.student, self.objective, dev, texts, size)
        else:
            measures = measure(self.student, self.objective, dev, texts, batch_size=size, corpus=self.sample)
        values = torch.tensor(list(measures.values()), dtype=torch.float64, device=self.job.device)
        if distributed.is_initialized():
            # All workers base decisions on these values, so all need the same ones.
            distributed.broadcast(values, 0)
        return dict(zip(measures, values.tolist(), strict=True))

    def _begin(self) -> dict[str, Any]:
        """Return the progress before the first step, with calibrated temperatures."""
        calibrated = {}
        for number, loss in enumerate(self.settings.loss):
            if "calibrated" in vars(loss).values():
                chosen = vars(loss.calibrated(self._untrained_lists()))
                calibrated[str(number)] = {key: chosen[key] for key in chosen if getattr(loss, key) == "calibrated"}
        if distributed.is_initialized():
            # Use the first worker's values: on mixed hardware the last digits may differ.
            shared = [calibrated]
            distributed.broadcast_object_list(shared)
            calibrated = shared[0]
        return {"epoch": 0, "step": 0, "best": None, "best_epoch": 0, "masked": 0, "calibrated": calibrated}

    def _losses(self) -> list[Any]:
        """Return the config's losses with their calibrated temperatures."""
        chosen = self.progress["calibrated"]
        return [
            dataclasses.replace(loss, **chosen.get(str(number), {})) for number, loss in enumerate(self.settings.loss)
        ]

    @torch.no_grad()
    def _untrained_lists(self) -> Iterator[Lists]:
        """Yield the lists of the first epoch's first queries, scored by the untrained student."""
        batches = self.groups["train"].epoch(0, self.settings.batch_size)
        for number, batch in enumerate(batches):
            if number * self.settings.batch_size >= _CALIBRATION_LISTS:
                return
            yield lists(batch, encode(self.student, batch, self.texts["train"]))

    def _with_prefixes(self) -> Objective:
        """Return the loss that is trained: with ``dimensions``, that of the vectors' prefixes too."""
        if not isinstance(self.settings, Train) or not self.settings.dimensions:
            return self.objective
        weights = prefix_weights(self.settings, self.student.dimension)
        return Matryoshka(self.objective, weights, normalize=similarity(self.job.model) == "cosine")

    def _optimizer(self) -> torch.optim.Optimizer:
        """Create AdamW; ``share`` of a parameter group is its factor on the learning rate."""
        settings = self.settings
        student = [parameter for name, parameter in self.parameters.items() if name.startswith("student.")]
        share = (settings.loss_learning_rate or settings.learning_rate) / settings.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": [p for p in student if p.ndim > 1], "weight_decay": settings.weight_decay, "share": 1.0},
            {"params": [p for p in student if p.ndim <= 1], "weight_decay": 0.0, "share": 1.0},
            {"params": list(self.objective.parameters()), "weight_decay": 0.0, "share": share},
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.learning_rate, fused=True)

    def _rate(self, step: int) -> float:
        """Return the learning rate: linear warm-up from 0, then linear decay to ``floor`` of the peak."""
        warmup = max(1, self.settings.warmup_steps, math.ceil(self.settings.warmup * self.steps))
        if step < warmup:
            return self.settings.learning_rate * (step + 1) / warmup
        left = (self.steps - step) / max(1, self.steps - warmup)
        return self.settings.learning_rate * (self.settings.floor + (1 - self.settings.floor) * left)

    def _save(self, name: str) -> None:
        if self.log:
            self.log.publish()  # first, since a resumed training only drops lines
            tensors = self.parameters if name == "best" else self.parameters | self._moments()
            save_checkpoint(self.job.work / f"{name}.safetensors", tensors, self.progress)

    def _moments(self) -> dict[str, torch.Tensor]:
        states = self.optimizer.state_dict()["state"]
        return {f"adam.{number}.{key}": value for number, state in states.items() for key, value in state.items()}

    def _resume(self, tensors: dict[str, torch.Tensor]) -> None:
        restore(self.parameters, tensors, self.job.work / "last.safetensors")
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, number, key = name.split(".")
                states.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": states})

    def _restore_losses(self) -> None:
        """Start from the learned loss parameters of the model's own training, if they are of the same losses."""
        saved = load_losses(self.job.model.parent / "loss.safetensors")
        parameters = {name: parameter for name, parameter in self.parameters.items() if name.startswith("loss.")}
        if saved.keys() == parameters.keys():
            restore(parameters, saved, self.job.model.parent / "loss.safetensors")

    def _write(self, **values: float) -> None:
        if self.log:
            self.log.write(epoch=self.progress["epoch"], step=self.progress["step"], **values)


class _Log:
    """Writes the training curve as JSON lines and for TensorBoard.

    Entries after the checkpoint ``progress`` are removed, since the resumed training writes them again.
    """

    def __init__(self, path: Path, progress: dict[str, Any] | None) -> None:
        from tensorboardX import SummaryWriter

        self.path = path
        epoch, step = (progress["epoch"], progress["step"]) if progress else (-1, -1)
        if fetched(path).exists():
            _drop_after(path, epoch, step)
        # TensorBoard names files by the second; the suffix keeps a training resumed at once apart.
        board = str(path.with_name("tensorboard"))
        self.board = SummaryWriter(board, purge_step=step + 1, flush_secs=10, filename_suffix=f".{step + 1}")

    def write(self, epoch: int, step: int, **values: float) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, "step": step, **values}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def close(self) -> None:
        self.board.close()

    def publish(self) -> None:
        """Upload the curve so far, if the storage is an object store."""
        publish(self.path)
        publish(self.path.with_name("tensorboard"))


def _drop_after(path: Path, epoch: int, step: int) -> None:
    kept: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            # The worker was killed while it wrote this line.
            continue
        if values["step"] <= step and values["epoch"] <= epoch:
            kept.append(line)
    write_text(path, (f"{line}\n" for line in kept))


def load_lists(job: Job, split: str) -> Groups:
    """Load the lists of ``train`` or ``dev``. A cross-encoder's held-out lists are whole, as those that it reranks."""
    settings = job.settings
    rows, doc_ids = read_shard(job.work / f"{split}.parquet", "groups"), read_ids(job.work)
    length = sys.maxsize if settings.pairs and split == "dev" else settings.list_length
    kind = Pairs if settings.pairs else Groups
    return kind(rows, doc_ids, length, job.seed, settings.max_positives, pick_positives=settings.pick_positives)


def load_student(job: Job) -> Any:
    """Load the model to train, restricted to the tokens of the training texts."""
    student = job.settings.student(job.model, job.device)
    student.restrict(used_tokens(job.work))
    return student


def used_tokens(work: Path) -> np.ndarray:
    """Return the ids of all tokens in the training texts, ascending."""
    used: np.ndarray = np.unique(np.concatenate([np.unique(Tokens(work / "tokens" / name).ids) for name in _TOKENS]))
    return used


def load_losses(path: Path) -> dict[str, torch.Tensor]:
    """Load the learned parameters of losses by name; empty if there is no file."""
    from safetensors.torch import load_file

    parameters: dict[str, torch.Tensor] = load_file(path) if path.exists() else {}
    return parameters
