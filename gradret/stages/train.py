"""Train the student on the lists: MODEL."""

from __future__ import annotations

import functools
import json
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.artifacts import Artifact, Draft, make, write_shard
from gradret.errors import ConfigError, DataError, StageError
from gradret.progress import Progress
from gradret.text import passage

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config import Config
    from gradret.training.loop import Job

__all__ = ["train"]


def train(config: Config, base_model: Artifact, ingested: Artifact, generated: Artifact, groups: Artifact) -> Artifact:
    """The folder ``model``, trained from ``base_model``; ``metrics.jsonl`` holds the curve.

    Raises:
        ConfigError: the encoder cannot be trained.
        DataError: the loss stopped being a number; names the batch.
        StageError: a worker failed.
    """
    if not hasattr(config.train.encoder, "student"):
        raise ConfigError(f"train.encoder: {type(config.train.encoder).__name__} cannot be trained")
    inputs = {"model": base_model, "docs": ingested, "queries": generated, "groups": groups}
    body = functools.partial(_train, config, inputs)
    settings = {"train": config.train, "seed": config.seed}
    return make("train", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _train(config: Config, inputs: dict[str, Artifact], draft: Draft) -> None:
    from gradret.training.loop import Job

    work = draft.path / "work"
    job = Job(config.train, config.seed, inputs["model"].path / "model", work, draft.path / "metrics.jsonl")
    if not (work / "ready").exists():
        shutil.rmtree(work, ignore_errors=True)
        _prepare(job, inputs["docs"], inputs["queries"], inputs["groups"])
        (work / "ready").touch()
    sizes = json.loads((work / "sizes.json").read_text(encoding="utf-8"))
    _fit(job, sizes["train"], draft)
    draft.notes |= _export(job, draft)
    draft.count(**sizes)


def _prepare(job: Job, ingested: Artifact, generated: Artifact, groups: Artifact) -> None:
    """Tokenise every text once and split the groups."""
    import pyarrow.compute as pc

    from gradret.training.tokens import write_tokens

    tokenize = job.settings.encoder.student(job.model).tokenize
    docs = ingested.table("docs", ["doc_id", "title", "text"])
    texts = [passage(*row) for row in zip(docs["title"].to_pylist(), docs["text"].to_pylist(), strict=True)]
    write_tokens(job.work / "tokens" / "docs", texts, tokenize)
    (job.work / "doc_ids.json").write_text(json.dumps(docs["doc_id"].to_pylist()), encoding="utf-8")
    queries = generated.table("queries", ["query_id", "text"])
    text_of = dict(zip(queries["query_id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    rows = groups.table("groups")
    sizes = {}
    for split in ("train", "dev"):
        part: pa.Table = rows.filter(pc.equal(rows["split"], split))
        write_shard(job.work / f"{split}.parquet", part, "groups")
        texts = [text_of[query_id] for query_id in part["query_id"].to_pylist()]
        write_tokens(job.work / "tokens" / split, texts, tokenize)
        sizes[split] = part.num_rows
    (job.work / "sizes.json").write_text(json.dumps(sizes), encoding="utf-8")


def _fit(job: Job, queries: int, draft: Draft) -> None:
    """Run the loop on Ray Train's workers."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from gradret.session import connect

    connect()
    resources = job.settings.resources
    with _Watch(job, queries):
        trainer = TorchTrainer(
            functools.partial(_worker, job),
            torch_config=TorchConfig(backend="nccl" if resources.gpus else "gloo"),
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
        _refusal(job).unlink(missing_ok=True)
        try:
            trainer.fit()
        except Exception as error:
            raise _worker_error(error) from error
    if _refusal(job).exists():
        raise DataError(_refusal(job).read_text(encoding="utf-8"))


def _worker(job: Job) -> None:
    from gradret.training.loop import train_loop

    try:
        train_loop(job)
    except DataError as error:
        # All workers raise it, and would again: it is not for Ray Train to try three times.
        _refusal(job).write_text(str(error), encoding="utf-8")


def _refusal(job: Job) -> Path:
    return job.work / "refused"


def _worker_error(error: BaseException) -> BaseException:
    """What a worker raised, without Ray Train's wrapping."""
    from gradret.errors import GradretError

    failures = getattr(error, "worker_failures", None) or {}
    for failure in failures.values():
        if isinstance(failure, (GradretError, OSError)):
            return failure
    return StageError(f"training failed: {error}")


class _Watch:
    """Prints the progress that the workers write to the metrics file."""

    def __init__(self, job: Job, queries: int) -> None:
        self.job, self.stop = job, threading.Event()
        steps = -(-queries // job.settings.batch_size) * job.settings.epochs
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
            note = f", loss {last['loss']:.4f}" if last else ""
            note += f", dev nDCG@10 {dev['dev_ndcg']:.4f}" if dev else ""
            self.progress.add((last["step"] if last else 0) - self.progress.done, note)


def _last_lines(metrics: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The newest training line and the newest dev line."""
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


def _export(job: Job, draft: Draft) -> dict[str, Any]:
    """Write the best checkpoint as a model folder."""
    from gradret.training.checkpoint import load_checkpoint
    from gradret.training.loop import load_student, restore

    found = load_checkpoint(job.work / "best.safetensors")
    assert found is not None
    tensors, progress = found
    student = load_student(job)
    restore(list(student.parameters()), tensors)
    student.save(draft.folder("model"))
    last = load_checkpoint(job.work / "last.safetensors")
    assert last is not None
    # First, so that what a kill leaves of the folder is not taken for a whole one.
    (job.work / "ready").unlink()
    shutil.rmtree(job.work)
    return {
        "best_epoch": progress["best_epoch"] + 1,
        "epochs": last[1]["epoch"],
        "steps": last[1]["step"],
        "best_dev_loss": progress["best"]["dev_loss"],
        "best_dev_ndcg": progress["best"]["dev_ndcg"],
    }
