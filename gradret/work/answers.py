"""Store a language model's answers as they arrive, so that a killed stage keeps them.

``FOLDER/SHARD/`` has a small file of the contract ``answers`` for each answered block of prompts, and
``prompts.json`` with the shard's number of prompts, written after its last prompt.
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
from gradret.store.artifacts import read_shard, shard_metadata, write_shard
from gradret.store.atomic import write_json
from gradret.store.mirror import exists, fetched, files_in, publish

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Answers", "answer_of", "answers_table"]


@dataclass(frozen=True)
class Answers:
    """Answers of a stage, by input shard."""

    folder: Path
    run: int = field(default_factory=time.time_ns)
    """Part of the names of added files, which tells them from those of earlier runs."""
    known: dict[int, int] = field(default_factory=dict, compare=False)
    """Cached numbers of prompts, by shard; once written they do not change."""

    def add(self, shard: int, answers: list[Answer]) -> None:
        """Write answers as one file, named by their prompts: a block that is answered again replaces its file."""
        if answers:
            name = hashlib.sha256("\0".join(answer.prompt_id for answer in answers).encode()).hexdigest()[:16]
            write_shard(self._folder(shard) / f"{self.run:020d}-{name}.parquet", answers_table(answers), "answers")

    def adopt(self, shard: int, path: Path) -> None:
        """Take over the table of answers that a damaged artifact has kept, if the shard has no answers yet."""
        if exists(path) and self._counted(shard) is None and not self._files(shard):
            prompts = shard_metadata(path).num_rows
            kept = self._folder(shard) / f"{0:020d}-kept.parquet"
            fetched(path).rename(kept)
            publish(kept)
            self.count(shard, prompts)

    def answered_before(self, shard: int) -> set[str]:
        """Prompt ids with an answer from an earlier run, without those that failed, which are asked again.

        Answers of this run do not count: when a node dies, Ray builds the prompts again and expects the same ones.
        """
        paths = [path for path in self._files(shard) if int(path.name.partition("-")[0]) < self.run]
        files = (read_shard(path, "answers", ["prompt_id", "finish"]).to_pylist() for path in paths)
        return {row["prompt_id"] for rows in files for row in rows if row["finish"] != "error"}

    def of(self, shard: int) -> list[Answer]:
        """One answer per prompt, sorted by prompt_id; an error only if the prompt has no other answer."""
        answers: dict[str, Answer] = {}
        for answer in self._all(shard):
            earlier = answers.get(answer.prompt_id)
            if earlier is None or earlier.finish == "error":
                answers[answer.prompt_id] = answer
        return [answers[prompt_id] for prompt_id in sorted(answers)]

    def count(self, shard: int, prompts: int) -> None:
        """Record the shard's number of prompts, once all of them have been generated."""
        write_json(self._folder(shard) / "prompts.json", {"prompts": prompts})

    def complete(self, shard: int) -> bool:
        """Whether earlier runs answered every prompt of the shard."""
        counted = self._counted(shard)
        return counted is not None and len(self.answered_before(shard)) == counted

    def expected(self, shards: int) -> int:
        """Estimate the total number of prompts from the shards whose number is known."""
        for shard in range(shards):
            if shard not in self.known and (counted := self._counted(shard)) is not None:
                self.known[shard] = counted
        return round(sum(self.known.values()) * shards / max(len(self.known), 1))

    def _folder(self, shard: int) -> Path:
        folder = self.folder / f"{shard:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _counted(self, shard: int) -> int | None:
        try:
            text = fetched(self._folder(shard) / "prompts.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        counted: int = json.loads(text)["prompts"]
        return counted

    def _files(self, shard: int) -> list[Path]:
        return files_in(self._folder(shard), "*.parquet")

    def _all(self, shard: int) -> Iterator[Answer]:
        for path in self._files(shard):
            yield from map(answer_of, read_shard(path, "answers").to_pylist())


def answer_of(row: dict[str, Any]) -> Answer:
    """An answer from a row of the contract ``answers``, or from an engine's row."""
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
    """Answers as a table of the contract ``answers``."""
    import pyarrow as pa

    from gradret.store.contracts import schema

    rows = [
        vars(answer) | {"logprobs": list(answer.logprobs), "facts": json.dumps(dict(answer.facts))}
        for answer in answers
    ]
    return pa.Table.from_pylist(rows, schema("answers"))
