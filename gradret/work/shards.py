"""Run a stage on Ray Data: one input shard in, one worker, output shards out.

A stage lists its input shards and provides a worker that turns one into a ``Result``. Ray Data distributes the shards
to tasks, or to actors that load their models once; a worker reads its shard from storage and writes its output there,
so rows never pass through the driver. A report under ``work/``, written last, commits a shard; a killed stage resumes
with the shards that have no report. Output shards are named by their input, so the result does not depend on the
scheduling.
"""

from __future__ import annotations

import functools
import json
import math
import os
import pickle
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.config.resources import Workers, ray_options
from gradret.errors import ConfigError, ContractError, DataError, GradretError, StageError
from gradret.progress import Progress
from gradret.store.artifacts import Draft, write_shard
from gradret.store.atomic import write_json
from gradret.store.checksums import file_sum
from gradret.store.mirror import exists, fetch_below
from gradret.store.results import Worker, quarantine_table
from gradret.urls import is_mirrored
from gradret.work import metrics

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["map_shards", "one_per_node", "run_step", "split_rows"]


def map_shards(
    draft: Draft,
    items: Sequence[Any],
    load: Callable[[], Worker],
    *,
    workers: Workers | None = None,
    unit: str = "rows",
    total: int | None = None,
) -> None:
    """Run a worker on every item and write its tables, quarantined rows and counts to ``draft``.

    Args:
        draft: gets the tables, one shard per item, named by the item's number.
        items: input shards: paths, or small picklable descriptions of a part of a file.
        load: creates the worker; called once per process, so load models here.
        workers: their number and what each takes. Workers with GPUs are actors, which free them when the stage ends;
            others are plain tasks, whose processes survive, so that later stages need not import again.
        unit: name of a row in progress lines.
        total: number of rows, if known; otherwise progress counts shards.

    Raises:
        GradretError: raised by the worker.
        StageError: the worker failed for another reason.
        ContractError: the counts of a shard do not add up.
    """
    reports = draft.path / "work"
    reports.mkdir(exist_ok=True)
    fetch_below(reports, only="part-*.json")
    done = {number for number in range(len(items)) if _is_done(draft, _report(reports, number))}
    progress = Progress(f"{draft.stage} {draft.about}".rstrip(), total or len(items), unit if total else "shards")
    for number in sorted(done):
        report = _read(_report(reports, number))
        progress.skip(report["rows_in"] if total else 1)
    if len(done) < len(items):
        progress.say_resumed()
    todo = [number for number in range(len(items)) if number not in done]
    if todo:
        run = functools.partial(_ShardWorker, load, list(items), draft.path, draft.stage)
        for rows in _stream(todo, run, workers or Workers(), draft.stage):
            progress.add(rows if total else 1)
            metrics.count(draft.stage, rows=rows)
    progress.close()
    fetch_below(reports, only="part-*.json")
    for number in todo:
        metrics.count(draft.stage, quarantined=sum(_read(_report(reports, number))["quarantined"].values()))
    for number in range(len(items)):
        _add_counts(draft, _read(_report(reports, number)))


def run_step(
    draft: Draft, name: str, items: Sequence[Any], load: Callable[[], Worker], workers: Workers | None = None
) -> Draft:
    """Run ``map_shards`` into ``work/NAME``, as one of several steps of a stage; returns the step's draft."""
    step = Draft(draft.path / "work" / name, draft.stage)
    step.path.mkdir(parents=True, exist_ok=True)
    map_shards(step, items, load, workers=workers)
    return step


def split_rows(draft: Draft, rows: pa.Table, table: str, size: int) -> list[Path]:
    """Write ``rows`` as input shards of ``size`` rows under ``work/``; returns their paths."""
    paths = []
    for number in range(math.ceil(rows.num_rows / size)):
        path = draft.path / "work" / table / f"part-{number:05d}.parquet"
        if not path.exists():
            write_shard(path, rows.slice(number * size, size), table)
        paths.append(path)
    return paths


def one_per_node(workers: Workers) -> Workers:
    """The workers of a stage whose threads use all cores of a node: one per node if nothing else is set."""
    from gradret.work.nodes import count_nodes
    from gradret.work.session import connect

    if workers.actors or workers.gpus:
        return workers
    connect()
    return replace(workers, actors=max(1, count_nodes()))


class _ShardWorker:
    """Processes input shards in a Ray task or actor, and commits their output shards."""

    def __init__(self, load: Callable[[], Worker], items: list[Any], folder: Path, stage: str) -> None:
        self.work, self.items, self.folder, self.stage = load(), items, folder, stage

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        return {"rows": [self._process(int(number)) for number in batch["shard"]]}

    def _process(self, number: int) -> int:
        result = self.work(self.items[number])
        if result.rows_in != result.rows_kept + len(result.quarantined):
            raise ContractError(
                f"{self.stage} shard {number}: {result.rows_in} rows in, but {result.rows_kept} kept "
                f"and {len(result.quarantined)} quarantined"
            )
        rows_out = sum(rows.num_rows for rows in result.tables.values())
        tables = dict(result.tables)
        if result.quarantined:
            tables["quarantine"] = quarantine_table(self.stage, result.quarantined)
        names = {table: f"{table}/part-{number:05d}.parquet" for table in tables}
        files = {names[table]: write_shard(self.folder / names[table], rows, table) for table, rows in tables.items()}
        reasons: dict[str, int] = {}
        for row in result.quarantined:
            reasons[row.reason] = reasons.get(row.reason, 0) + 1
        report = {
            "rows_in": result.rows_in,
            "rows_out": rows_out,
            "quarantined": reasons,
            "counts": result.counts,
            "files": files | result.files,
        }
        write_json(_report(self.folder / "work", number), report)
        return result.rows_in


def _stream(todo: list[int], make: Callable[[], _ShardWorker], workers: Workers, stage: str) -> Iterator[int]:
    """Process the shards; yields the number of input rows of each as it finishes."""
    import ray
    from ray.exceptions import RayError

    from gradret.work.nodes import require_nodes, watched
    from gradret.work.session import cores, is_local

    bundle = workers.bundle(gpus=workers.gpus)
    require_nodes(stage, bundle, 1, workers.wait_minutes)
    shards = ray.data.from_items([{"shard": number} for number in todo], override_num_blocks=len(todo))
    # Ray counts more CPUs than this machine has cores; more processes would only start, and wait for each other.
    most = workers.actors or (cores() if is_local() else 0)
    size = min(most, len(todo)) or None
    compute = ray.data.ActorPoolStrategy(size=size) if workers.gpus else ray.data.TaskPoolStrategy(size=size)
    task = functools.partial(_task, f"{stage} {os.getpid()} {time.monotonic()}", make)
    work = _actor(make) if workers.gpus else task
    reports = shards.map_batches(work, batch_size=1, compute=compute, **ray_options(bundle))
    try:
        with watched(stage, bundle):
            for batch in reports.iter_batches(batch_size=None):
                for rows, error in zip(batch["rows"], batch["error"], strict=True):
                    if error:
                        raise _placed(*pickle.loads(error))  # noqa: S301 - pickled by a gradret worker
                    yield int(rows)
    except RayError as error:
        raise StageError(f"a worker failed: {error}") from error


def _actor(make: Callable[[], _ShardWorker]) -> type:
    """An actor class without arguments, so that Ray can restart a dead actor."""

    class Actor:
        def __init__(self) -> None:
            self.work = make()

        def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
            return _guarded(self.work, batch)

    return Actor


_loaded: dict[str, _ShardWorker] = {}
"""The worker that this process loaded last, by stage."""


def _task(stage: str, make: Callable[[], _ShardWorker], batch: dict[str, Any]) -> dict[str, list[Any]]:
    def work(batch: dict[str, Any]) -> dict[str, list[int]]:
        if stage not in _loaded:
            _loaded.clear()
            _loaded[stage] = make()
        return _loaded[stage](batch)

    return _guarded(work, batch)


def _guarded(work: Callable[[dict[str, Any]], dict[str, list[int]]], batch: dict[str, Any]) -> dict[str, list[Any]]:
    """Return errors for the user as rows: Ray Data keeps only the text of what a task raises."""
    try:
        return work(batch) | {"error": [b""] * len(batch["shard"])}
    except (GradretError, OSError) as error:
        return {"rows": [0], "error": [pickle.dumps((error, platform.node()))]}


def _placed(error: Exception, node: str) -> Exception:
    """The error of a worker, with its node if that is another one: a path may exist on some nodes only."""
    if node == platform.node():
        return error
    if isinstance(error, (ConfigError, DataError)):
        error.args = (f"{error} (on node {node})",)
    elif isinstance(error, FileNotFoundError) and "artifacts" not in Path(str(error.filename)).parts:
        return StageError(f"{error.filename} is missing on node {node}; put it there, at the same path")
    return error


def _report(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.json"


def _is_done(draft: Draft, report: Path) -> bool:
    """Whether a shard is committed and its files are still as they were written, whatever has happened since."""
    try:
        files = _read(report)["files"]
        if is_mirrored(report):
            return all(exists(draft.path / name) for name in files)
        return all(file_sum(draft.path / name) == expected for name, expected in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def _add_counts(draft: Draft, report: dict[str, Any]) -> None:
    quarantined = sum(report["quarantined"].values())
    draft.count(rows_in=report["rows_in"], rows_out=report["rows_out"], quarantined=quarantined, **report["counts"])
    draft.files |= report["files"]
    for reason, number in report["quarantined"].items():
        draft.quarantined[reason] = draft.quarantined.get(reason, 0) + number
