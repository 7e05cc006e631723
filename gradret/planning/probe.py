"""Measure the speed of the real engine on a sample of a job's prompts, without its start-up."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError, StageError
from gradret.store.artifacts import Draft, read_shard, write_shard
from gradret.store.atomic import write_json
from gradret.store.mirror import fetched, files_in

if TYPE_CHECKING:
    from gradret.engines import Answer, Prompt, Task
    from gradret.planning.jobs import Job
    from gradret.store.results import Quarantined, Result

__all__ = ["Probe", "probe"]

_TIMED = 64
_BATCH = 8
# Two batches, so that a prompt that is too long leaves one whole.
_FIRST = 2 * _BATCH
_WAIT_SECONDS = 1800.0


@dataclass(frozen=True)
class Probe:
    """Measurements of a probe."""

    prompts: int
    unusable: dict[str, int]
    """Unusable answers by reason."""
    tokens_in: float
    """Mean number of tokens per prompt."""
    tokens_out: float
    """Mean number of tokens per answer."""
    timed: int
    """Number of timed prompts: those sent after the engine's first answer."""
    seconds: float
    """Time for the timed prompts."""
    tokens_in_per_second: float
    tokens_out_per_second: float


def probe(job: Job, folder: Path, seed: int) -> Probe:
    """Time one engine on ``_TIMED`` prompts, after a few untimed ones that wait for its start.

    Args:
        job: the job with the prompts.
        folder: folder for the probe, shared by all nodes.
        seed: the run's seed.

    Raises:
        ConfigError: the engine cannot start, or the sample has too few prompts.
        StageError: the engine failed.
    """
    from gradret.work.asking import ask

    if len(job.prompts) <= _FIRST:
        raise ConfigError(
            f"--probe: {job.stage} has only {len(job.prompts)} prompts, too few to measure the speed; "
            "plan without --probe"
        )
    draft = Draft(folder, f"probe {job.stage}")
    answers = folder / "work" / "answers" / "00000"
    load = functools.partial(_Gated, job.load, answers, folder / "opened")
    with _streaming():
        ask(draft, [_item(job, folder)], load, job.engine.alone(_BATCH), seed=seed, max_bad_share=1.0)
    return _measured(draft, answers, folder / "opened")


def _item(job: Job, folder: Path) -> Path:
    """One shard of the sample's rows. A second shard could be assigned to the only worker before the first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = math.ceil((_FIRST + _TIMED) * job.sampled / len(job.prompts))
    table = job.item.parent.name
    rows = read_shard(job.item, table)
    keys = list(dict.fromkeys(rows[job.key].to_pylist()))[:wanted]
    path = folder / "items" / table / "part-00000.parquet"
    write_shard(path, rows.filter(pc.is_in(rows[job.key], pa.array(keys, pa.string()))), table)
    return path


@contextlib.contextmanager
def _streaming() -> Iterator[None]:
    """Let Ray Data pass each prompt on at once: it collects 128 MiB before the next operator sees a row."""
    from ray.data import DataContext

    context = DataContext.get_current()
    before = context.target_max_block_size
    context.target_max_block_size = 1
    try:
        yield
    finally:
        context.target_max_block_size = before


class _Gated:
    """A task that yields the timed prompts only after the engine's first answer, when it has started."""

    def __init__(self, load: Callable[[], Task], answers: Path, opened: Path) -> None:
        self.task, self.answers, self.opened = load(), answers, opened

    def prompts(self, item: Path) -> Iterator[Prompt]:
        prompts = list(self.task.prompts(item))
        yield from prompts[:_FIRST]
        self._wait()
        write_json(self.opened, [prompt.prompt_id for prompt in prompts[:_FIRST]])
        yield from prompts[_FIRST:]

    def read(self, answer: Answer) -> Any:
        return self.task.read(answer)

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        return self.task.result(item, read)

    def _wait(self) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not files_in(self.answers, "*.parquet"):
            if time.monotonic() > deadline:
                raise StageError(f"--probe: the engine did not answer any prompt in {_WAIT_SECONDS:,.0f} s")
            time.sleep(0.02)


def _measured(draft: Draft, answers: Path, opened: Path) -> Probe:
    first = set(json.loads(fetched(opened).read_text(encoding="utf-8")))
    timed = {path: _timed(path, first) for path in files_in(answers, "*.parquet")}
    seconds = max(path.stat().st_mtime for path, rows in timed.items() if rows) - opened.stat().st_mtime
    rows = [row for block in timed.values() for row in block]
    prompts = draft.counts["prompts"]
    return Probe(
        prompts=prompts,
        unusable=dict(draft.quarantined),
        tokens_in=draft.counts["tokens_in"] / prompts,
        tokens_out=draft.counts["tokens_out"] / prompts,
        timed=len(rows),
        seconds=seconds,
        tokens_in_per_second=sum(row["tokens_in"] for row in rows) / seconds,
        tokens_out_per_second=sum(row["tokens_out"] for row in rows) / seconds,
    )


def _timed(path: Path, first: set[str]) -> list[dict[str, Any]]:
    """Answers of a file to the timed prompts."""
    rows: list[dict[str, Any]] = read_shard(path, "answers").to_pylist()
    return [row for row in rows if row["prompt_id"] not in first and row["finish"] != "too_long"]
