"""Scored pairs for tests: queries of several kinds, retrieved documents, and the teacher's scores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradret.config.run import Config, Mine
from gradret.pairs import pair_id
from gradret.retrievers.bm25 import Bm25
from gradret.retrievers.dense import Dense
from gradret.retrievers.generated import Generated
from gradret.retrievers.positives import Positives
from gradret.retrievers.random import Random
from gradret.retrievers.source import Source
from gradret.stages.select import select
from gradret.store.artifacts import Artifact

from . import tiny

KINDS = ("claim", "title", None)


@dataclass(frozen=True)
class Found:
    """A document of a query's pool."""

    ranks: dict[str, int]
    score: float | None


@dataclass(frozen=True)
class Asked:
    """A query and its pool."""

    text: str
    kind: str | None
    source: str | None
    pool: dict[str, Found]


World = dict[str, Asked]


def world(queries: int = 120, docs: int = 30, seed: int = 0) -> World:
    """Every third query has no source document; some scores are missing; some texts say the same."""
    draw = random.Random(seed)
    made = {}
    for number in range(queries):
        source = f"d{draw.randrange(docs):03d}" if number % 3 else None
        ranks: dict[str, dict[str, int]] = {}
        for origin, deep in (("bm25", 6), ("dense.2", 5), ("random", 3)):
            for rank, doc in enumerate(draw.sample(range(docs), deep), 1):
                ranks.setdefault(f"d{doc:03d}", {})[origin] = rank * draw.randint(1, 9) if origin == "dense.2" else rank
        if source:
            ranks.setdefault(source, {})["source"] = 1
        elif number % 2:
            ranks.setdefault(f"d{draw.randrange(docs):03d}", {})["positives"] = 1
        pool = {
            doc_id: Found(found, None if draw.random() < 0.1 else float(np.float32(draw.gauss(number % 4, 2))))
            for doc_id, found in sorted(ranks.items())
        }
        words = tiny.sentence(draw, draw.randint(1, 7)) if number % 5 else draw.choice(["Dim, bal!", "dim bal", "kun"])
        made[f"q{number:03d}"] = Asked(words, KINDS[draw.randrange(3)], source, pool)
    return made


def stored(storage: Path, world: World, shards: int = 3, copies: Sequence[tuple[str, str]] = ()) -> list[Artifact]:
    """DUPLICATES, QUERIES, PAIRS and LABELS; QUERIES is sharded another way, and not sorted."""
    queries = [
        {"query_id": query_id, "text": one.text, "split": None, "source_doc_id": one.source, "kind": one.kind}
        | {"generator": "test"}
        for query_id, one in world.items()
    ]
    pairs, labels = [], []
    for part in np.array_split(sorted(world), shards):
        rows = [
            (query_id, doc_id, found) for query_id in part.tolist() for doc_id, found in world[query_id].pool.items()
        ]
        ids = [
            {"pair_id": pair_id(query_id, doc_id), "query_id": query_id, "doc_id": doc_id}
            for query_id, doc_id, _ in rows
        ]
        pairs.append(
            [
                row | {"origins": list(one.ranks), "ranks": list(one.ranks.values())}
                for row, (*_, one) in zip(ids, rows, strict=True)
            ]
        )
        labels.append(
            [
                row | {"source": "t", "score": one.score}
                for row, (*_, one) in zip(ids, rows, strict=True)
                if one.score is not None
            ]
        )
    duplicates = [{"doc_id": copy, "kept_doc_id": kept, "reason": "equal"} for copy, kept in copies]
    return [
        tiny.artifact(storage, "dedupe", {"copies": [duplicates]}),
        tiny.artifact(storage, "generate", {"queries": [queries[1::2][::-1], queries[::2]]}),
        tiny.artifact(storage, "mine", {"pairs": pairs}),
        tiny.artifact(storage, "label", {"labels": labels}),
    ]


def selected(
    config: Config,
    world: World,
    shards: int = 3,
    copies: Sequence[tuple[str, str]] = (),
    docs: Artifact | None = None,
) -> Artifact:
    """What the stage makes of it."""
    # bm25 and dense.2 among the origins are searches, random is none.
    mine = Mine(retrievers=(Source(), Positives(), Generated(), Bm25(), Random(), Dense(), Dense()))
    return select(replace(config, mine=mine), *stored(Path(config.storage_path), world, shards, copies), docs=docs)


def lists(selected: Artifact) -> dict[str, dict[str, Any]]:
    """GROUPS by query_id."""
    return {row["query_id"]: row for row in selected.table("groups").to_pylist()}


def dropped(selected: Artifact) -> dict[str, tuple[str, str]]:
    """Why and what, by query_id."""
    return {row["where"]: (row["reason"], row["raw"]) for row in selected.table("quarantine").to_pylist()}
