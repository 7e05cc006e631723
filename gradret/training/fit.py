"""Run a training on Ray Train's workers, and follow it on the driver."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import DataError, StageError
from gradret.progress import say
from gradret.store.atomic import write_json, write_text
from gradret.store.checksums import check
from gradret.store.fingerprint import canonical
from gradret.store.mirror import fetch_below, fetched, publish, remove
from gradret.store.results import Quarantined, quarantine_table
from gradret.training.trackers import Curve, open_trackers
from gradret.training.watching import ProgressWatcher, Watcher
from gradret.urls import shown

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from ray.train.torch import TorchTrainer

    from gradret.config.resources import TrainResources
    from gradret.store.artifacts import Artifact, Draft
    from gradret.training.loop import Job
    from gradret.training.prepare import Prepared
    from gradret.training.step import Student

__all__ = ["Best", "discard_work", "fit", "load_best", "prepared_once"]

_PREPARED = "prepared.json"

_RESTARTS = 10
"""How often workers are started again on a cluster, whose nodes may be lost; losses announced in time do not count."""


def prepared_once(job: Job, draft: Draft, groups: Artifact, prepare: Callable[[pa.Table], Prepared]) -> None:
    """Prepare the lists, unless a killed training did; quarantine those that cannot be used, and count them.

    Args:
        job: whose work folder is prepared.
        draft: the stage's draft.
        groups: GROUPS.
        prepare: writes the training data of the lists.
    """
    file = job.work / _PREPARED
    if not fetched(file).exists():
        remove(job.work)
        shutil.rmtree(job.work, ignore_errors=True)
        rows = groups.table("groups")
        prepared = prepare(rows)
        aside = [Quarantined(query_id, reason) for query_id, reason in prepared.set_aside]
        if aside:
            draft.write("quarantine", quarantine_table(draft.stage, aside))
        counts = {"rows_in": rows.num_rows, "rows_out": rows.num_rows - len(aside), "quarantined": len(aside)}
        publish(job.work)
        written = {
            "counts": counts | prepared.counts,
            "quarantined": dict(Counter(row.reason for row in aside)),
            "notes": {"lists": prepared.usable, "texts_at_length_limit": prepared.at_limit},
        }
        write_json(file, written)
    found = json.loads(file.read_text(encoding="utf-8"))
    draft.count(**found["counts"])
    draft.quarantined |= found["quarantined"]
    draft.notes |= found["notes"]


def fit(job: Job, draft: Draft, watch: Watcher | None = None) -> None:
    """Run the training loop on Ray Train's workers.

    Args:
        job: what they train, prepared in its work folder.
        draft: the stage's draft, with the number of training lists in its counts.
        watch: called with the dev measures soon after each epoch.

    Raises:
        DataError: the loss is not finite.
        StageError: a worker failed.
    """
    from gradret.work.nodes import require_nodes
    from gradret.work.session import is_local
    from gradret.work.signals import in_thread

    resources = job.settings.resources
    bundle, fewest = resources.bundle(gpus=resources.gpus), resources.min_workers or resources.num_workers
    require_nodes(draft.stage, bundle, fewest, resources.wait_minutes)
    named = f"{draft.stage}/{draft.path.name}"
    curve = Curve(open_trackers(resources.trackers, named, {**canonical(job.settings), "seed": job.seed}))
    with ProgressWatcher(job, draft.counts["train"], watch, curve):
        remove(_error_file(job))
        _error_file(job).unlink(missing_ok=True)
        restarts = 2 if is_local() else _RESTARTS
        for restart in range(restarts + 1):
            try:
                in_thread(_trainer(job, draft, bundle, restarts).fit)  # Ray Train would keep SIGINT for itself
                break
            except Exception as error:
                if restart == restarts or not _lost_while_starting(error):
                    raise _worker_error(error) from error
                say(f"  {draft.stage}: a node was lost while the workers started; starts them again", "warning")
        if fetched(_error_file(job)).exists():
            raise DataError(_error_file(job).read_text(encoding="utf-8"))
    say(f"  {draft.stage}: the curve: tensorboard --logdir {shown(job.metrics.with_name('tensorboard'))}")


def _trainer(job: Job, draft: Draft, bundle: dict[str, float], restarts: int) -> TorchTrainer:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from gradret.training.process_group import process_group

    resources = job.settings.resources
    return TorchTrainer(
        functools.partial(_worker, job),
        torch_config=process_group("nccl" if resources.gpus else "gloo", job.work.resolve()),
        scaling_config=ScalingConfig(
            num_workers=_num_workers(resources),
            use_gpu=resources.gpus > 0,
            resources_per_worker=bundle,
            # Without threads set, a worker uses all cores of its node; GPUs of a node are close to each other.
            placement_strategy="PACK" if resources.gpus else "SPREAD",
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str((draft.path / "work" / "train").resolve()),
            failure_config=FailureConfig(max_failures=restarts),
        ),
    )


def _lost_while_starting(error: Exception) -> bool:
    """Whether a worker was lost before it trained: Ray Train then ends, whatever ``max_failures`` is."""
    from ray.exceptions import RayActorError
    from ray.train import ControllerError

    return isinstance(error, ControllerError) and isinstance(error.controller_failure, RayActorError)


def _num_workers(resources: TrainResources) -> Any:
    """Ray Train's number of workers: fixed, or from the fewest to the most."""
    return (resources.min_workers, resources.num_workers) if resources.min_workers else resources.num_workers


def _worker(job: Job) -> None:
    from gradret.training.loop import train_loop

    fetch_below(job.work)
    check(job.model)
    check(job.model.parent / "loss.safetensors")
    if job.device == "cuda":
        import torch
        from ray.train.torch import get_device

        torch.cuda.set_device(get_device())
    try:
        train_loop(job)
    except DataError as error:
        # Every worker raises it, and would again, so Ray Train must not retry.
        write_text(_error_file(job), [str(error)])


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


@dataclass(frozen=True)
class Best:
    """The model of the best checkpoint."""

    student: Student
    """On the CPU, in float32."""
    learned: dict[str, torch.Tensor]
    """The losses' parameters."""
    notes: dict[str, Any]
    """Facts about the training, for the manifest."""


def load_best(job: Job) -> Best:
    """Load the model that the training keeps."""
    from gradret.training.checkpoint import load_checkpoint, restore
    from gradret.training.loop import load_student

    fetch_below(job.work)
    fetched(job.metrics)
    fetch_below(job.metrics.with_name("tensorboard"))
    best = load_checkpoint(job.work / "best.safetensors")
    last = load_checkpoint(job.work / "last.safetensors")
    assert best is not None
    assert last is not None
    tensors, progress = best
    student = load_student(dataclasses.replace(job, settings=job.settings.as_loaded()))
    parameters = {f"student.{number}": parameter for number, parameter in enumerate(student.parameters())}
    restore(parameters, tensors, job.work / "best.safetensors")
    learned = {name: tensor for name, tensor in tensors.items() if name.startswith("loss.")}
    notes = {
        "best_epoch": progress["best_epoch"],
        "epochs": last[1]["epoch"],
        "steps": last[1]["step"],
        **{f"best_{name}": value for name, value in progress["best"].items()},
        "calibrated": {f"{job.settings.key}.loss[{n}]": chosen for n, chosen in progress["calibrated"].items()},
        "masked_pairs": last[1]["masked"],
        "learned": {name: tensor.tolist() for name, tensor in learned.items()},
    }
    return Best(student, learned, notes)


def discard_work(job: Job) -> None:
    """Remove the work folder of a training whose model is written."""
    # Deleted first, so that a kill during rmtree does not leave a folder that looks complete.
    (job.work / _PREPARED).unlink()
    shutil.rmtree(job.work)
