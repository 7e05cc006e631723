"""Answers on disk: of a stage that asks a language model, as they come, and whole in the end.

``FOLDER/SHARD/`` holds a small file of the contract ``answers`` for each block that was answered, and
``prompts.json`` with the number of the shard's prompts once all of them are written.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.engines import Answer
from gradret.store.artifacts import read_shard, write_json, write_shard

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Answers", "answer_of", "answers_table"]


@dataclass(frozen=True)
class Answers:
    """The answers of a stage, by input shard."""

    folder: Path
    run: int = field(default_factory=time.time_ns)
    """Part of the name of what is added, so that it can be told from what was there before."""
    known: dict[int, int] = field(default_factory=dict, compare=False)
    """Prompts of the shards whose number was read; it never changes."""

    def add(self, shard: int, answers: list[Answer]) -> None:
        """One file, named by what it answers: a block that is answered again replaces itself."""
        if answers:
            name = hashlib.sha256("\0".join(answer.prompt_id for answer in answers).encode()).hexdigest()[:16]
            write_shard(self._of(shard) / f"{self.run:020d}-{name}.parquet", answers_table(answers), "answers")

    def answered_before(self, shard: int) -> set[str]:
        """Prompts that earlier runs have an answer to that is no error: an engine's error may pass.

        Not those of this run: when a node dies Ray makes the prompts again, and they must be the same.
        """
        paths = [path for path in self._files(shard) if int(path.name.partition("-")[0]) < self.run]
        files = (read_shard(path, "answers", ["prompt_id", "finish"]).to_pylist() for path in paths)
        return {row["prompt_id"] for rows in files for row in rows if row["finish"] != "error"}

    def of(self, shard: int) -> list[Answer]:
        """One answer a prompt, by prompt_id; an error only where there is nothing else."""
        found: dict[str, Answer] = {}
        for answer in self._all(shard):
            before = found.get(answer.prompt_id)
            if before is None or before.finish == "error":
                found[answer.prompt_id] = answer
        return [found[prompt_id] for prompt_id in sorted(found)]

    def count(self, shard: int, prompts: int) -> None:
        """Say how many prompts the shard has: all of them are written."""
        write_json(self._of(shard) / "prompts.json", {"prompts": prompts})

    def complete(self, shard: int) -> bool:
        """Whether earlier runs answered every prompt of the shard."""
        counted = self._counted(shard)
        return counted is not None and len(self.answered_before(shard)) == counted

    def expected(self, shards: int) -> int:
        """How many prompts there will be, going by the shards whose prompts are written."""
        for shard in range(shards):
            if shard not in self.known and (counted := self._counted(shard)) is not None:
                self.known[shard] = counted
        return round(sum(self.known.values()) * shards / max(len(self.known), 1))

    def _of(self, shard: int) -> Path:
        place = self.folder / f"{shard:05d}"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _counted(self, shard: int) -> int | None:
        try:
            counted: int = json.loads((self._of(shard) / "prompts.json").read_text(encoding="utf-8"))["prompts"]
        except FileNotFoundError:
            return None
        return counted

    def _files(self, shard: int) -> list[Path]:
        return sorted(self._of(shard).glob("*.parquet"))

    def _all(self, shard: int) -> Iterator[Answer]:
        for path in self._files(shard):
            yield from map(answer_of, read_shard(path, "answers").to_pylist())


def answer_of(row: dict[str, Any]) -> Answer:
    """An answer from a row of the contract, or of an engine."""
    return Answer(
        prompt_id=row["prompt_id"],
        text=row["text"],
        finish=row["finish"],
        tokens_in=int(row["tokens_in"]),
        tokens_out=int(row["tokens_out"]),
        logprobs=tuple(row["logprobs"]),
        error=row["error"],
        cut=int(row["cut"]),
        facts=json.loads(row["facts"]),
    )


def answers_table(answers: Iterable[Answer]) -> pa.Table:
    """Rows of the contract."""
    import pyarrow as pa

    from gradret.store.contracts import schema

    rows = [
        vars(answer) | {"logprobs": list(answer.logprobs), "facts": json.dumps(dict(answer.facts))}
        for answer in answers
    ]
    return pa.Table.from_pylist(rows, schema("answers"))
