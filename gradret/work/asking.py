"""Run a stage that prompts a language model: generate prompts per shard, store answers, build each shard's result.

First, all prompts are answered. Ray Data sends them to the engines in small blocks and writes each answered block to
``work/answers/SHARD/`` as it arrives. A killed stage resumes with the prompts that have no answer there; a block in
flight may be asked again, and only one answer to a prompt counts. Then ``map_shards`` builds the result of each shard
from its answers, and keeps the answers in the table ``answers``.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import math
import os
import pickle
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.engines import Answer, Engine, Prompt, Row, Task, TooLong, Unusable, Write
from gradret.errors import GradretError, StageError
from gradret.progress import Progress, duration, say, waiting
from gradret.store.artifacts import Draft, read_shard, write_shard
from gradret.store.atomic import atomic
from gradret.store.mirror import fetched, remove
from gradret.store.results import Quarantined, Result
from gradret.work import metrics
from gradret.work.answers import Answers, answer_of, answers_table
from gradret.work.shards import map_shards

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ask", "read_answers"]

_MIN_ANSWERS = 64
"""Number of answers before their share of failures can stop the stage."""
_EXAMPLES = 3


def ask(
    draft: Draft,
    items: Sequence[Path],
    load: Callable[[], Task],
    engine: Engine,
    *,
    seed: int,
    max_bad_share: float,
    unit: str = "prompts",
) -> None:
    """Send the prompts of every item to ``engine`` and write the task's tables to ``draft``.

    Args:
        draft: gets the tables, one shard per item, and the raw answers.
        items: input shards.
        load: creates the task; called in the workers.
        engine: the engine that answers.
        seed: with its prompt_id, decides a prompt's sampling seed.
        max_bad_share: stop if more than this share of the answers cannot be used.
        unit: name of a prompt in progress lines.

    Raises:
        ConfigError: the engine cannot start, or a template is wrong.
        StageError: no node for the engine came in time, too many answers cannot be used, or the engine died too often.
    """
    answers = Answers(draft.path / "work" / "answers")
    for number in range(len(items)):
        answers.adopt(number, draft.path / "answers" / f"part-{number:05d}.parquet")
    todo = [number for number in range(len(items)) if not answers.complete(number)]
    if todo:
        engine.check()
        engine.wait(draft.stage)
        progress = Progress(draft.stage, 0, unit)
        if before := sum(len(answers.answered_before(number)) for number in range(len(items))):
            say(f"  {draft.stage}: resumed, {before:,} answers were there")
            progress.skip(before)
        _answer(_Asking(list(items), load, answers, seed), todo, engine, progress, max_bad_share)
    map_shards(draft, list(enumerate(items)), functools.partial(_Reader, load, answers, draft.path / "answers"))


@dataclass(frozen=True)
class _Asking:
    """State shared by the workers that generate prompts and write answers."""

    items: list[Path]
    load: Callable[[], Task]
    answers: Answers
    seed: int

    def task(self) -> Task:
        """The task, loaded once per process."""
        task: Task = self._once("task", self.load)
        return task

    def write(self, engine: Engine) -> Write:
        """The function that renders a prompt for the engine, loaded once per process."""
        write: Write = self._once("write", engine.load)
        return write

    def _once(self, key: str, load: Callable[[], Any]) -> Any:
        """Load once per process; a process works for one stage at a time."""
        if _cache.get("folder") != self.answers.folder:
            _cache.clear()
            _cache["folder"] = self.answers.folder
        if key not in _cache:
            _cache[key] = load()
        return _cache[key]


_cache: dict[str, Any] = {}


@dataclass
class _Block:
    """Statistics of answered blocks."""

    rows: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)
    began: float = math.inf
    """When the engine took the first of their prompts, in seconds since the epoch."""


def _answer(asking: _Asking, todo: list[int], engine: Engine, progress: Progress, max_bad_share: float) -> None:
    import ray
    from ray.exceptions import RayError

    from gradret.work.session import connect

    connect()
    failure = asking.answers.folder / "failure.pickle"
    failure.parent.mkdir(parents=True, exist_ok=True)
    remove(failure)
    failure.unlink(missing_ok=True)
    numbers = ray.data.from_items([{"item": number} for number in todo], override_num_blocks=len(todo))
    prompts = numbers.map_batches(_guarded(failure, functools.partial(_prompts, asking, engine)), batch_size=1)
    blocks = engine.answer(prompts).map_batches(
        _guarded(failure, functools.partial(_commit, asking)), batch_size=None, batch_format="pyarrow"
    )
    watch = _Watch(asking.answers, len(asking.items), progress, max_bad_share)
    try:
        with waiting(f"{progress.what}: waits for the first answers of {engine.model}, which may load") as arrived:
            for batch in blocks.iter_batches(batch_size=None):
                arrived()
                for block in batch["block"]:
                    watch.add(_Block(**json.loads(block)))
    except RayError as error:
        if fetched(failure).exists():
            raise pickle.loads(failure.read_bytes()) from error  # noqa: S301 - our own worker wrote it
        raise _storage_error(error) or StageError(f"the engine failed after all retries: {_cause(error)}") from error
    watch.close()


class _Watch:
    """Shows the progress, and stops the stage if too many answers cannot be used."""

    def __init__(self, answers: Answers, items: int, progress: Progress, max_bad_share: float) -> None:
        self.answers, self.items, self.progress, self.max_bad_share = answers, items, progress, max_bad_share
        self.total = _Block()
        self.started = time.time()

    def add(self, block: _Block) -> None:
        metrics.count(self.progress.what, tokens_in=block.tokens_in, tokens_out=block.tokens_out)
        self.total.rows += block.rows
        self.total.bad += block.bad
        self.total.tokens_in += block.tokens_in
        self.total.tokens_out += block.tokens_out
        self.total.began = min(self.total.began, block.began)
        self.total.examples += block.examples[: _EXAMPLES - len(self.total.examples)]
        if self.progress.due():
            self.progress.total = self.answers.expected(self.items)
        # Rates count from the engine's first prompt: its start is no work, and blocks are done in bursts.
        self.progress.begin(self._seconds())
        self.progress.add(block.rows, f", {self._speed()}, {self.total.bad:,} unusable")
        if self.total.rows >= _MIN_ANSWERS:
            self._check_share()

    def close(self) -> None:
        self.progress.close()
        if self.total.rows:
            start = duration(max(self.total.began - self.started, 0.0))
            done = f"{self.total.rows:,} {self.progress.unit} in {duration(self._seconds())}, after a start of {start}"
            say(f"  {self.progress.what}: {done}: {self._speed()}, {self.total.bad:,} unusable")
        self._check_share()

    def _seconds(self) -> float:
        return max(time.time() - self.total.began, 1e-9)

    def _speed(self) -> str:
        seconds = self._seconds()
        return f"{self.total.tokens_in / seconds:,.0f} tokens/s in, {self.total.tokens_out / seconds:,.0f} out"

    def _check_share(self) -> None:
        if self.total.bad <= self.max_bad_share * self.total.rows:
            return
        examples = "".join(f"\n  {example}" for example in self.total.examples)
        raise StageError(
            f"{self.total.bad:,} of {self.total.rows:,} answers cannot be used, more than max_bad_share="
            f"{self.max_bad_share:g}:{examples}\nchange the prompt, the model or its limits, or raise max_bad_share; "
            "the good answers are kept for the next run"
        )


def _prompts(asking: _Asking, engine: Engine, batch: dict[str, Any]) -> Iterator[pa.Table]:
    """Rows for the engine: all prompts of an item that have no answer yet."""
    import pyarrow as pa

    for number in batch["item"].tolist():
        for row in _rows(asking, engine, number):
            yield pa.Table.from_pylist([row])


def _rows(asking: _Asking, engine: Engine, number: int) -> Iterator[Row]:
    task, write, answers = asking.task(), asking.write(engine), asking.answers
    answered = answers.answered_before(number)
    long, total = [], 0
    for prompt in task.prompts(asking.items[number]):
        total += 1
        if prompt.prompt_id in answered:
            continue
        try:
            yield _row(prompt, number, write(prompt, prompt.seed(asking.seed)))
        except TooLong as error:
            long.append(Answer(prompt.prompt_id, "", "too_long", 0, 0, error=str(error), facts=prompt.facts))
    answers.add(number, long)
    answers.count(number, total)


def _row(prompt: Prompt, number: int, row: Row) -> Row:
    return row | {"prompt_id": prompt.prompt_id, "item": number, "facts": json.dumps(dict(prompt.facts))}


def _commit(asking: _Asking, rows: pa.Table) -> Iterator[dict[str, list[str]]]:
    """Write answered rows to disk; yields their statistics."""
    task, block, now = asking.task(), _Block(), time.time()
    by_item: dict[int, list[Answer]] = {}
    for row in rows.to_pylist():
        answer = answer_of(row)
        by_item.setdefault(int(row["item"]), []).append(answer)
        read = _read(task, answer)
        block.rows += 1
        block.began = min(block.began, now - row.get("seconds", 0.0))
        block.tokens_in += answer.tokens_in
        block.tokens_out += answer.tokens_out
        if isinstance(read, Quarantined):
            block.bad += 1
            block.examples.append(f"{read.where}: {read.reason}: {read.raw[:300]!r}")
    for number, answered in by_item.items():
        asking.answers.add(number, answered)
    block.examples = block.examples[:_EXAMPLES]
    yield {"block": [json.dumps(vars(block))]}


def _read(task: Task, answer: Answer) -> Any:
    """The parsed answer, or the reason why it cannot be used."""
    if answer.finish == "error" and answer.text:  # the engine marks the text as unusable
        return Quarantined(answer.prompt_id, answer.error, answer.text)
    if answer.finish == "error":
        return Quarantined(answer.prompt_id, "engine error", answer.error)
    if answer.finish == "too_long":
        return Quarantined(answer.prompt_id, "prompt too long", answer.error)
    try:
        return task.read(answer)
    except Unusable as why:
        return Quarantined(answer.prompt_id, str(why), answer.text)


def read_answers(task: Task, path: Path) -> dict[str, Any | Quarantined]:
    """What the task reads in the answers of a shard, or why they cannot be used, by prompt_id."""
    answers = map(answer_of, read_shard(path, "answers").to_pylist())
    return {answer.prompt_id: _read(task, answer) for answer in answers}


class _Reader:
    """Builds an item's tables from its answers."""

    def __init__(self, load: Callable[[], Task], answers: Answers, folder: Path) -> None:
        self.task, self.answers, self.folder = load(), answers, folder

    def __call__(self, item: tuple[int, Path]) -> Result:
        number, path = item
        answers = self.answers.of(number)
        name = f"part-{number:05d}.parquet"
        written = write_shard(self.folder / name, answers_table(answers), "answers")
        result = self.task.result(path, {answer.prompt_id: _read(self.task, answer) for answer in answers})
        result.files[f"{self.folder.name}/{name}"] = written
        for name in ("tokens_in", "tokens_out"):
            result.counts[name] = sum(getattr(answer, name) for answer in answers)
        result.counts["prompts"] = len(answers)
        result.counts["texts_cut"] = sum(answer.cut for answer in answers)
        return result


def _guarded(failure: Path, work: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
    """Pass errors for the user through a file: Ray Data keeps only the text of what a task raises."""

    def run(batch: Any) -> Iterator[Any]:
        try:
            yield from work(batch)
        except (GradretError, OSError) as error:
            with contextlib.suppress(OSError), atomic(failure) as draft:  # the disk may be what is full
                draft.write_bytes(pickle.dumps(error))
            raise

    return run


def _storage_error(error: Exception) -> OSError | None:
    """A full disk, recognised by the text of the error: there was no space to write the error itself."""
    full = (number for number in (errno.ENOSPC, errno.EDQUOT) if f"[Errno {number}]" in str(error))
    return next((OSError(number, os.strerror(number)) for number in full), None)


def _cause(error: Exception) -> str:
    """The last line of Ray's message that names an error; the others are Ray's frames and advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Died)\b.*: ", line)]
    return (named or lines or [type(error).__name__])[-1]
