"""Train the student on the lists: MODEL."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gradret.errors import ConfigError, DataError, StageError
from gradret.progress import Progress
from gradret.store.artifacts import Artifact, Draft, make, write_json
from gradret.store.results import Quarantined, quarantine_table
from gradret.text import passage

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config, Train
    from gradret.training.loop import Job
    from gradret.training.step import Student

__all__ = ["train"]

Watcher = Callable[[dict[str, Any]], None]

_CHECKED = 32
"""Number of documents, and of queries, for which the exported model must reproduce the trained vectors."""
_TOLERANCE = 1e-5
"""Largest allowed difference of a component of these vectors."""


def train(
    config: Config,
    base_model: Artifact,
    ingested: Artifact,
    generated: Artifact,
    groups: Artifact,
    *,
    watch: Watcher | None = None,
) -> Artifact:
    """Train from ``base_model`` and write the folder ``model``, and ``loss.safetensors`` if a loss has parameters.

    ``metrics.jsonl`` holds the training curve, and ``tensorboard`` the same for TensorBoard. Lists that are broken or
    that no loss can use are quarantined.

    Args:
        config: the run's config; ``train`` applies.
        base_model: MODEL to start from.
        ingested: DOCS.
        generated: QUERIES, with the documents that were generated for them, if any.
        groups: GROUPS to train on.
        watch: called with the dev measures soon after each epoch; not called if the artifact already exists.

    Raises:
        ConfigError: the encoder cannot be trained, or a loss can use none of the lists.
        DataError: no list is left, or the loss is not finite.
        StageError: a worker failed, or the exported model does not reproduce the trained vectors.
    """
    if not config.train.encoder.trainable:
        raise ConfigError(f"train.encoder: {type(config.train.encoder).__name__} cannot be trained")
    inputs = {"model": base_model, "docs": ingested, "queries": generated, "groups": groups}
    body = functools.partial(_train, config, inputs, watch)
    settings: dict[str, object] = {"train": dataclasses.replace(config.train, seed=_seed(config))}
    if config.train.encoder.dropout:
        settings["chunk_size"] = config.train.resources.chunk_size  # decides the dropout masks
    return make("train", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _seed(config: Config) -> int:
    return config.seed if config.train.seed is None else config.train.seed


def _train(config: Config, inputs: dict[str, Artifact], watch: Watcher | None, draft: Draft) -> None:
    from gradret.training.loop import Job

    work = draft.path / "work"
    job = Job(config.train, _seed(config), inputs["model"].file("model"), work, draft.path / "metrics.jsonl")
    if not (work / "prepared.json").exists():
        shutil.rmtree(work, ignore_errors=True)
        write_json(work / "prepared.json", _prepare(job, inputs, draft))
    prepared = json.loads((work / "prepared.json").read_text(encoding="utf-8"))
    _fit(job, prepared["counts"]["train"], watch, draft)
    draft.notes |= prepared["notes"] | _export(job, inputs, draft)
    draft.count(**prepared["counts"])
    draft.quarantined |= prepared["quarantined"]


def _prepare(job: Job, inputs: dict[str, Artifact], draft: Draft) -> dict[str, Any]:
    """Prepare the lists, quarantine the unusable ones, and return counts and notes for the manifest."""
    from gradret.training.prepare import prepare

    queries = inputs["queries"].table("queries", ["query_id", "text"])
    groups = inputs["groups"].table("groups")
    prepared = prepare(job, _docs(inputs), queries, groups)
    aside = [Quarantined(query_id, reason) for query_id, reason in prepared.set_aside]
    if aside:
        draft.write("quarantine", quarantine_table("train", aside))
    kept = groups.num_rows - len(aside)
    return {
        "counts": {"rows_in": groups.num_rows, "rows_out": kept, "quarantined": len(aside), **prepared.counts},
        "quarantined": dict(Counter(row.reason for row in aside)),
        "notes": {"lists": prepared.usable, "texts_at_length_limit": prepared.at_limit},
    }


def _docs(inputs: dict[str, Artifact]) -> pa.Table:
    """The corpus and the documents generated for the queries, if any; sorted by doc_id."""
    import pyarrow as pa

    parts = [inputs[name].table("docs", ["doc_id", "title", "text"]) for name in ("docs", "queries")]
    return pa.concat_tables(parts).sort_by("doc_id")


def _fit(job: Job, queries: int, watch: Watcher | None, draft: Draft) -> None:
    """Run the training loop on Ray Train's workers."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from gradret.training.process_group import process_group
    from gradret.work.session import connect
    from gradret.work.signals import in_thread

    connect()
    resources = job.settings.resources
    with _ProgressWatcher(job, queries, watch):
        trainer = TorchTrainer(
            functools.partial(_worker, job),
            torch_config=process_group("nccl" if resources.gpus else "gloo", job.work.resolve()),
            scaling_config=ScalingConfig(
                num_workers=resources.num_workers,
                use_gpu=resources.gpus > 0,
                resources_per_worker={"CPU": 1} | ({"GPU": resources.gpus} if resources.gpus else {}),
            ),
            run_config=RunConfig(
                name="ray",
                storage_path=str((draft.path / "work" / "train").resolve()),
                failure_config=FailureConfig(max_failures=2),
            ),
        )
        _error_file(job).unlink(missing_ok=True)
        try:
            in_thread(trainer.fit)  # Ray Train would keep SIGINT for itself
        except Exception as error:
            raise _worker_error(error) from error
    if _error_file(job).exists():
        raise DataError(_error_file(job).read_text(encoding="utf-8"))


def _worker(job: Job) -> None:
    from gradret.training.loop import train_loop

    if job.device == "cuda":
        import torch
        from ray.train.torch import get_device

        torch.cuda.set_device(get_device())
    try:
        train_loop(job)
    except DataError as error:
        # Every worker raises it, and would again, so Ray Train must not retry.
        _error_file(job).write_text(str(error), encoding="utf-8")


def _error_file(job: Job) -> Path:
    return job.work / "refused"


def _worker_error(error: BaseException) -> BaseException:
    """The error that a worker raised, without Ray Train's wrapper."""
    from gradret.errors import GradretError

    failures = getattr(error, "worker_failures", None) or {}
    for failure in failures.values():
        if isinstance(failure, (GradretError, OSError)):
            return failure
    return StageError(f"training failed: {error}")


class _ProgressWatcher:
    """Shows the progress that the workers write to the metrics file."""

    def __init__(self, job: Job, queries: int, watch: Watcher | None) -> None:
        self.job, self.watch, self.stop = job, watch, threading.Event()
        batches = math.ceil(queries / job.settings.batch_size)
        steps = math.ceil(batches / job.settings.accumulate) * job.settings.epochs
        self.progress = Progress("train", steps, "steps")
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.progress.close()

    def _run(self) -> None:
        while not self.stop.wait(1.0):
            last, dev = _last_lines(self.job.metrics)
            if dev and self.watch:
                self.watch(dev)
            note = f", loss {last['loss']:.4f}" if last else ""
            note += f", {_dev_note(dev)}" if dev else ""
            self.progress.add((last["step"] if last else 0) - self.progress.done, note)


def _dev_note(dev: dict[str, Any]) -> str:
    return f"dev nDCG@10 {dev['dev_ndcg']:.4f}" if "dev_ndcg" in dev else f"dev loss {dev['dev_loss']:.4f}"


def _last_lines(metrics: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The last training line and the last dev line."""
    last = dev = None
    try:
        lines = metrics.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None, None
    for line in reversed(lines):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        last = last or (values if "loss" in values else None)
        dev = dev or (values if "dev_loss" in values else None)
        if last and dev:
            break
    return last, dev


def _export(job: Job, inputs: dict[str, Artifact], draft: Draft) -> dict[str, Any]:
    """Write the best checkpoint as a model folder and check that it loads and gives the same vectors."""
    from safetensors.torch import save_file

    from gradret.training.checkpoint import load_checkpoint, restore
    from gradret.training.loop import load_student

    best = load_checkpoint(job.work / "best.safetensors")
    last = load_checkpoint(job.work / "last.safetensors")
    assert best is not None
    assert last is not None
    tensors, progress = best
    student = load_student(dataclasses.replace(job, settings=_as_loaded(job.settings)))
    parameters = {f"student.{number}": parameter for number, parameter in enumerate(student.parameters())}
    restore(parameters, tensors, job.work / "best.safetensors")
    folder = draft.folder("model")
    student.save(folder)
    _check_export(student, folder, job, inputs)
    learned = {name: tensor for name, tensor in tensors.items() if name.startswith("loss.")}
    if learned:
        save_file(learned, draft.path / "loss.safetensors")
    # Deleted first, so that a kill during rmtree does not leave a folder that looks complete.
    (job.work / "prepared.json").unlink()
    shutil.rmtree(job.work)
    return {
        "best_epoch": progress["best_epoch"],
        "epochs": last[1]["epoch"],
        "steps": last[1]["step"],
        **{f"best_{name}": value for name, value in progress["best"].items()},
        "calibrated": {f"train.loss[{number}]": chosen for number, chosen in progress["calibrated"].items()},
        "masked_pairs": last[1]["masked"],
        "learned": {name: tensor.tolist() for name, tensor in learned.items()},
        "trust_remote_code": job.settings.encoder.trust_remote_code,
    }


def _as_loaded(settings: Train) -> Train:
    """Settings for the CPU and float32, as users load the model."""
    resources = dataclasses.replace(settings.resources, gpus=0.0)
    return dataclasses.replace(settings, encoder=settings.encoder.as_saved(), resources=resources)


def _check_export(student: Student, folder: Path, job: Job, inputs: dict[str, Artifact]) -> None:
    """Compare the vectors of the exported model and the student on some documents and queries.

    Raises:
        StageError: they differ by more than ``_TOLERANCE``.
    """
    import numpy as np

    from gradret.stages.encode import encode_texts, load_model

    docs = next(inputs["docs"].batches("docs")).slice(0, _CHECKED)
    queries = next(inputs["queries"].batches("queries")).slice(0, _CHECKED)
    titles = zip(docs["title"].to_pylist(), docs["text"].to_pylist(), strict=True)
    texts: dict[Literal["docs", "queries"], list[str]] = {
        "docs": [passage(*row) for row in titles],
        "queries": queries["text"].to_pylist(),
    }
    trusted = job.settings.encoder.trust_remote_code
    model = load_model(folder, job.settings.resources.threads, trust_remote_code=trusted)
    student.train(False)  # noqa: FBT003 - torch.nn.Module's
    for table, sample in texts.items():
        tokens = student.tokenize(sample, table)
        starts = np.cumsum([0, *map(len, tokens)])
        want = student(np.concatenate(tokens), starts).detach().float().numpy()
        difference = np.abs(encode_texts(model, sample, table) - want).max()
        if not difference <= _TOLERANCE:
            raise StageError(
                f"{folder} does not reproduce the trained vectors of {table} (largest difference {difference:.2g})"
            )
