"""What the real engine does with some of a job's prompts, its start left out."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.errors import ConfigError, StageError
from gradret.store.artifacts import Draft, read_shard, write_json, write_shard

if TYPE_CHECKING:
    from gradret.engines import Answer, Engine, Prompt, Task
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
    """What was measured."""

    prompts: int
    unusable: dict[str, int]
    """By reason."""
    tokens_in: float
    """Mean over the prompts."""
    tokens_out: float
    timed: int
    """Prompts that were answered after the engine had answered its first."""
    seconds: float
    """That these took."""
    tokens_in_per_second: float
    tokens_out_per_second: float


def probe(job: Job, folder: Path, seed: int) -> Probe:
    """Ask one engine about ``_TIMED`` prompts, and a few before them that only wait for its start.

    Args:
        job: whose prompts.
        folder: where it works; every node must see it.
        seed: of the run.

    Raises:
        ConfigError: the engine cannot work, or the sample has too few prompts.
        StageError: the engine failed for good.
    """
    from gradret.work.asking import ask

    items = _items(job, folder)
    draft = Draft(folder, f"probe {job.stage}")
    answers = folder / "work" / "answers"
    load = functools.partial(_Gated, job.load, items[1], answers / "00000", folder / "opened")
    ask(draft, items, load, _one(job.engine), seed=seed, max_bad_share=1.0)
    return _measured(draft, answers, folder / "opened")


def _items(job: Job, folder: Path) -> list[Path]:
    """Two shards of the sample's rows: what the engine starts with, and what is timed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    a_row = len(job.prompts) / job.sampled
    first, timed = (math.ceil(prompts / a_row) for prompts in (_FIRST, _TIMED))
    table = job.item.parent.name
    rows = read_shard(job.item, table)
    keys = list(dict.fromkeys(rows[job.key].to_pylist()))
    if len(keys) <= first:
        raise ConfigError(f"--probe: {job.stage} has {len(job.prompts)} prompts in all, too few to measure a speed")
    paths = []
    for number, part in enumerate((keys[:first], keys[first : first + timed])):
        paths.append(folder / "items" / table / f"part-{number:05d}.parquet")
        write_shard(paths[-1], rows.filter(pc.is_in(rows[job.key], pa.array(part, pa.string()))), table)
    return paths


def _one(engine: Engine) -> Engine:
    """One engine, with batches so small that all prompts are in its hands at once."""
    given: Any = engine
    resources: Any = getattr(given, "resources", None)
    wanted = {"engines": 1, "batch_size": _BATCH}
    changed = {name: value for name, value in wanted.items() if hasattr(resources, name)}
    one: Engine = replace(given, resources=replace(resources, **changed)) if changed else given
    return one


class _Gated:
    """A task that gives the timed prompts once the engine has answered one: it has started then."""

    def __init__(self, load: Callable[[], Task], timed: Path, first: Path, opened: Path) -> None:
        self.task, self.timed, self.first, self.opened = load(), timed, first, opened

    def prompts(self, item: Path) -> Iterator[Prompt]:
        prompts = list(self.task.prompts(item))
        if item == self.timed:
            self._wait()
        yield from prompts

    def read(self, answer: Answer) -> Any:
        return self.task.read(answer)

    def result(self, item: Path, read: Mapping[str, Any | Quarantined]) -> Result:
        return self.task.result(item, read)

    def _wait(self) -> None:
        late = time.monotonic() + _WAIT_SECONDS
        while not any("too_long" not in _column(path, "finish") for path in self.first.glob("*.parquet")):
            if time.monotonic() > late:
                raise StageError(f"--probe: the engine has answered nothing in {_WAIT_SECONDS:,.0f} s")
            time.sleep(0.02)
        write_json(self.opened, sorted(path.name for path in self.first.glob("*.parquet")))


def _measured(draft: Draft, answers: Path, opened: Path) -> Probe:
    # By name: a file system's clock may be too coarse to tell what came just before.
    before = json.loads(opened.read_text(encoding="utf-8"))
    timed = [path for path in answers.glob("*/*.parquet") if path.name not in before]
    seconds = max(path.stat().st_mtime for path in timed) - opened.stat().st_mtime
    asked = draft.counts["prompts"]
    return Probe(
        prompts=asked,
        unusable=dict(draft.quarantined),
        tokens_in=draft.counts["tokens_in"] / asked,
        tokens_out=draft.counts["tokens_out"] / asked,
        timed=sum(len(_column(path, "finish")) for path in timed),
        seconds=seconds,
        tokens_in_per_second=sum(sum(_column(path, "tokens_in")) for path in timed) / seconds,
        tokens_out_per_second=sum(sum(_column(path, "tokens_out")) for path in timed) / seconds,
    )


def _column(path: Path, name: str) -> list[Any]:
    values: list[Any] = read_shard(path, "answers", [name])[name].to_pylist()
    return values
