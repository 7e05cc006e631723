"""Components outside gradret, pickled by value for Ray's workers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gradret.engines import Engine, Prompt, Sampling, TooLong, Unusable
from gradret.errors import ConfigError
from gradret.losses import Lists, LossFunction, Mean
from gradret.losses.kl import KL
from gradret.retrievers import Retriever, ranked
from gradret.store.artifacts import read_shard
from gradret.store.contracts import schema
from gradret.store.results import Quarantined, Result
from gradret.teachers import Teacher


@dataclass(frozen=True)
class Listed(Retriever):
    """A retriever that finds what it was told: ``query_id:doc_id,doc_id;query_id:...``."""

    found: str = ""

    def prepare(self, config: Any, ingested: Any, queries: Any) -> dict[str, Any]:
        return {}

    def load(self, prepared: dict[str, Any], seed: int) -> Any:
        found = dict(part.split(":") for part in self.found.split(";") if part)
        return lambda queries: [
            ranked(doc for doc in found.get(query["query_id"], "").split(",") if doc) for query in queries
        ]


@dataclass(frozen=True)
class Other(Listed):
    """Another one."""


@dataclass(frozen=True)
class Numbers(Teacher):
    """A teacher whose score says which pair it is: 1000 x query's number + document's number."""

    broken: str = ""
    """Pairs, as ``query_id doc_id value`` joined by commas, that get another value."""
    short: bool = False
    """Forget the last document of a list."""

    def prepare(self, config: Any, ingested: Any, queries: Any) -> dict[str, Any]:
        return {}

    def load(self, prepared: dict[str, Any]) -> Any:
        return _Numbers(self)


@dataclass(frozen=True)
class Itself(Teacher):
    """A teacher that ranks the document with the query's own id first, then 20 in order."""

    def prepare(self, config: Any, ingested: Any, queries: Any) -> dict[str, Any]:
        return {}

    def load(self, prepared: dict[str, Any]) -> Any:
        return self

    def search(self, queries: Any, k: int) -> list[list[tuple[str, float]]]:
        others = [(f"d{n:03d}", 20.0 - n) for n in range(20)]
        return [
            [(query["query_id"], 30.0), *(one for one in others if one[0] != query["query_id"])][:k]
            for query in queries
        ]


class _Numbers:
    def __init__(self, settings: Numbers) -> None:
        self.settings = settings
        self.broken = {tuple(part.split()[:2]): float(part.split()[2]) for part in settings.broken.split(",") if part}

    def score(self, queries: Any, doc_ids: Any) -> list[np.ndarray]:
        rows = []
        for query, docs in zip(queries, doc_ids, strict=True):
            scores = [self._one(query["query_id"], doc_id) for doc_id in docs]
            rows.append(np.array(scores[: len(scores) - self.settings.short], np.float32))
        # Lengths that add up all the same: nothing but a check of each list finds it.
        if self.settings.short:
            rows[-1] = np.append(rows[-1], np.zeros(len(rows), np.float32))
        return rows

    def _one(self, query_id: str, doc_id: str) -> float:
        return self.broken.get((query_id, doc_id), 1000 * int(query_id[1:]) + int(doc_id[1:]))

    def search(self, queries: Any, k: int) -> list[list[tuple[str, float]]]:
        found = [("d001", 2.0), ("d000", 2.0), ("d002", 3.0)]
        return [found[:k] if query["query_id"] != "q002" else [] for query in queries]


@dataclass(frozen=True)
class SlowKL(KL):
    """KL that takes its time, so that a test can do something meanwhile."""

    seconds: float = 0.0

    def load(self) -> LossFunction:
        loss = super().load()

        def slow(lists: Lists) -> Mean:
            time.sleep(self.seconds)
            return loss(lists)

        return slow


@dataclass(frozen=True)
class Overlap(Engine):
    """An engine that writes graded documents without a model: the higher the grade, the more of the query's words.

    The query is the first line of the message, after a colon.
    """

    broken: str = ""
    """Prompts, joined by commas, whose answer is cut off."""

    model = "overlap"

    def check(self) -> None:
        pass

    def load(self) -> Any:
        return self._row

    def answer(self, rows: Any) -> Any:
        done = {"finish": "stop", "tokens_in": 1, "tokens_out": 1, "logprobs": [], "error": ""}
        return rows.map(lambda row: row | done)

    def _row(self, prompt: Any, seed: int) -> dict[str, Any]:
        words = prompt.user(()).splitlines()[0].partition(": ")[2].split()
        grades = prompt.facts["grades"]
        texts = {}
        for grade, key in zip(grades, prompt.sampling.json_schema["properties"], strict=True):
            kept = words[: len(words) * grade // (prompt.facts["levels"] - 1)]
            texts[key] = " ".join([*kept, *(["zzz"] * (len(words) - len(kept))), str(seed)])
        text = json.dumps(texts)
        return {"text": text[:20] if prompt.prompt_id in self.broken.split(",") else text, "cut": 0}


@dataclass(frozen=True)
class Echo(Engine):
    """An engine without a model: the answer is the prompt in capitals. It writes down whom it was asked about."""

    log: str
    errors: str = ""
    """Prompts, joined by commas, that it fails on."""
    refuses: bool = False
    """Not to be asked at all."""
    block: int = 4
    seconds: float = 0.0
    """How long it says that it took for each prompt."""

    model = "echo"

    def check(self) -> None:
        assert not self.refuses, "asked for nothing"

    def load(self) -> Any:
        return self._row

    def answer(self, rows: Any) -> Any:
        return rows.repartition(target_num_rows_per_block=self.block, strict=True).map(self._answer)

    def _row(self, prompt: Any, seed: int) -> dict[str, Any]:
        if not prompt.texts[0]:
            raise TooLong("no room")
        return {"said": prompt.user(prompt.texts), "seed": seed, "cut": 0}

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        with Path(self.log).open("a") as file:
            file.write(f"{row['prompt_id']}\n")
        failed = row["prompt_id"] in self.errors.split(",")
        said = {"text": "" if failed else row.pop("said").upper(), "error": "no luck" if failed else ""}
        counted = {"tokens_in": 3, "tokens_out": 2, "logprobs": [0.5, row.pop("seed")], "seconds": self.seconds}
        row.pop("said", None)
        return row | said | counted | {"finish": "error" if failed else "stop"}


class Twice:
    """A task that asks two prompts a document; an answer that holds BAD is of no use."""

    def prompts(self, item: Any) -> Any:
        for doc in read_shard(item, "docs").to_pylist():
            for half in ("a", "b"):
                yield Prompt(
                    f"{doc['doc_id']}~{half}",
                    "",
                    lambda texts: texts[0],
                    (doc["text"],),
                    Sampling(1),
                    facts={"half": half},
                )

    def read(self, answer: Any) -> str:
        if "BAD" in answer.text:
            raise Unusable("it is bad")
        return answer.text

    def result(self, item: Any, read: Any) -> Result:
        bad = [one for one in read.values() if isinstance(one, Quarantined)]
        rows = [
            {"query_id": prompt_id, "text": text, "generator": "twice"}
            for prompt_id, text in read.items()
            if isinstance(text, str)
        ]
        return Result({"queries": pa.Table.from_pylist(rows, schema("queries"))}, len(read), len(rows), bad)


class Broken(Twice):
    """A task whose template is not there."""

    def prompts(self, item: Any) -> Any:
        raise ConfigError("template queries/none cannot be read")
