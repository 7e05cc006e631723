"""Score every pair with the teacher, once: LABELS."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.components import name_of
from gradret.errors import StageError
from gradret.pairs import labels
from gradret.prompts import digests
from gradret.search.passages import passages
from gradret.stats.orders import both_orders
from gradret.stats.signal import Scored, signal
from gradret.store.artifacts import Artifact, Draft, make, read_shard
from gradret.store.results import Result
from gradret.texts import query_rows
from gradret.work.shards import map_shards, one_per_node

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.engines import Task
    from gradret.teachers import Grader, LLMTeacher

__all__ = ["label"]


def label(config: Config, ingested: Artifact, generated: Artifact, mined: Artifact) -> Artifact:
    """Write LABELS, the teacher's raw score of every pair; a pair without a finite score is quarantined.

    The notes ``signal`` and ``orders`` of a language model's labels say whether it tells documents apart and whether
    their order decides: ``gradret.stats``.

    Args:
        config: the run's config; ``label`` sets the teacher and its workers.
        ingested: DOCS.
        generated: QUERIES, generated or human; must contain every query of the pairs.
        mined: PAIRS; the pairs of a query must be consecutive.
    """
    teacher = config.label.teacher
    prepared = teacher.prepare(config, ingested, generated)
    if prepared.get("docs") == ingested:
        # The teacher looks texts up, of every shard of pairs again.
        prepared = prepared | {"docs": passages(config, ingested)}
    inputs = {"docs": ingested, "queries": generated, "pairs": mined} | prepared
    settings: dict[str, object] = {"teacher": teacher, "templates": digests(teacher.templates)}
    if teacher.asks_llm:
        settings["seed"] = config.seed
        body = functools.partial(_ask, config, generated, mined, prepared)
    else:
        body = functools.partial(_score, config, generated, mined, prepared)
    return make("label", config.storage_path, module=__name__, settings=settings, inputs=inputs, body=body)


def _ask(config: Config, generated: Artifact, mined: Artifact, prepared: dict[str, Artifact], draft: Draft) -> None:
    from gradret.work.asking import ask

    teacher, limit = config.label.teacher, config.label.max_bad_share
    load = functools.partial(teacher.load, prepared)
    ask(draft, mined.shards("pairs"), load, teacher.engine, seed=config.seed, max_bad_share=limit)
    draft.notes |= _outside_mass(draft.parts("answers"))
    scored = _scored(generated, zip(mined.shards("pairs"), draft.parts("labels"), strict=True))
    draft.notes["signal"] = asdict(signal(scored, teacher.step, config.seed))
    orders = both_orders(_in_both_orders(teacher, load(), mined, draft))
    if orders.queries:
        draft.notes["orders"] = asdict(orders)


def _in_both_orders(
    teacher: LLMTeacher, task: Task, mined: Artifact, draft: Draft
) -> Iterator[tuple[Sequence[float], Sequence[float]]]:
    from gradret.work.asking import read_answers

    for pairs, answers in zip(mined.shards("pairs"), draft.parts("answers"), strict=True):
        yield from teacher.in_both_orders(pairs, read_answers(task, answers))


def _scored(generated: Artifact, shards: Iterable[tuple[Path, Path]]) -> Iterator[Scored]:
    """The scored documents of each query, from shards of PAIRS and of their LABELS."""
    import numpy as np

    for pairs, labelled in shards:
        columns = (read_shard(labelled, "labels", ["pair_id", "score"])[name] for name in ("pair_id", "score"))
        scores = dict(zip(*(column.to_pylist() for column in columns), strict=True))
        rows = [row for row in read_shard(pairs, "pairs").to_pylist() if row["pair_id"] in scores]
        queries = query_rows(generated, {row["query_id"] for row in rows})
        for query_id, group in groupby(rows, key=lambda row: row["query_id"]):
            documents = list(group)
            doc_ids, source = [row["doc_id"] for row in documents], queries[query_id]["source_doc_id"]
            yield Scored(
                np.array([scores[row["pair_id"]] for row in documents]),
                [min(row["ranks"]) for row in documents],
                doc_ids.index(source) if source in doc_ids else None,
            )


def _outside_mass(shards: Iterable[Path]) -> dict[str, float]:
    """Mean probability that multiple-choice answers put on tokens other than the choices; empty if there are none."""
    rows = (row for path in shards for row in read_shard(path, "answers", ["logprobs"])["logprobs"].to_pylist())
    outside = [max(0.0, 1 - sum(map(math.exp, row))) for row in rows if row]
    return {"outside_mean": sum(outside) / len(outside)} if outside else {}


def _score(config: Config, generated: Artifact, mined: Artifact, prepared: dict[str, Artifact], draft: Draft) -> None:
    teacher, resources = config.label.teacher, config.label.resources
    workers = one_per_node(resources) if teacher.threaded else resources
    load = functools.partial(_LabelWorker, functools.partial(teacher.load, prepared), name_of(teacher), generated)
    total = mined.counts["rows_out"]
    map_shards(draft, mined.shards("pairs"), load, workers=workers, total=total, unit="pairs")
    if unknown := teacher.unknown_pairs(prepared, mined):
        count, draft.notes["unknown_pairs"] = unknown
        draft.count(unknown_pairs=count)


class _LabelWorker:
    def __init__(self, load: Callable[[], Grader], source: str, generated: Artifact) -> None:
        self.grader, self.source, self.generated = load(), source, generated

    def __call__(self, path: Path) -> Result:
        pairs = read_shard(path, "pairs")
        columns = zip(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True)
        groups = [(query_id, [row[1] for row in rows]) for query_id, rows in groupby(columns, key=lambda row: row[0])]
        known = query_rows(self.generated, [query_id for query_id, _ in groups])
        scored = self.grader.score([known[query_id] for query_id, _ in groups], [doc_ids for _, doc_ids in groups])
        if [len(row) for row in scored] != [len(doc_ids) for _, doc_ids in groups]:
            raise StageError(f"teacher {self.source}: score() must return one score for each document of each query")
        return labels(pairs, [score for row in scored for score in row.tolist()], self.source)
