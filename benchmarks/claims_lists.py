"""Training lists for ``benchmarks.claims``: synthetic and human queries, judged documents, and added noise."""

from __future__ import annotations

import functools
import itertools
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import gradret
from benchmarks.students import EXTRACTIVE, Place, judgments, place
from gradret.flow import Flow
from gradret.stages.search import search_bm25

COLLECTIONS = ("scifact", "cranfield", "vaswani")
LISTS, A_KIND = 3000, 900
FOUR = ("sentence", "span", "keywords", "title")
KINDS = {"scifact": FOUR, "cranfield": FOUR, "vaswani": FOUR[:3]}  # vaswani's documents have no titles
# Grades of at least POSITIVE are positives; losses for several positives get at most MAX_POSITIVES.
POSITIVE, MAX_POSITIVES = 0.5, 4


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Return the result of ``make``, cached in a file."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_bytes(pickle.dumps(make()))
        draft.replace(path)
    return loaded(path)


@functools.cache
def loaded(path: Path) -> Any:
    """Return the content of a file written by ``kept``."""
    return pickle.loads(path.read_bytes())  # noqa: S301 - written by kept()


Lists = tuple[Place, pa.Table, dict[str, list[dict[str, Any]]]]
"""The collection, texts of the training queries, and rows of GROUPS by name."""


def flow_of(name: str, folder: Path, storage: Path, *more: str) -> Flow:
    """Return the quickstart's flow with extractive queries only."""
    given = ["dataset.name=beir", f"dataset.path={folder.resolve()}", f"name={name}", f"storage_path={storage}"]
    return Flow(gradret.load("configs/quickstart.yaml", [*given, *EXTRACTIVE, *more]))


def synthetic(name: str, folder: Path, storage: Path) -> Lists:
    """Lists of extractive queries: with ``scaled`` grades, with four ``levels``, and scaled lists per kind."""
    flow = flow_of(name, folder, storage)
    scaled = flow.select.table("groups").to_pylist()
    drawing("lists").shuffle(scaled)
    lists = {"scaled": taken(scaled, LISTS), "all kinds": taken(scaled, A_KIND)}
    for kind in KINDS[name]:
        lists[kind] = taken([row for row in scaled if row["kind"] == kind], A_KIND)
    lists["809 extractive"] = taken(scaled, 809)
    levels = Flow(
        gradret.config.loading.override(
            flow.config,
            [
                "select.grades=quantiles",
                "select.levels=4",
                "select.normalise=query",
                f"select.positive_from={POSITIVE}",
            ],
        )
    )
    rows = {row["query_id"]: row for row in levels.select.table("groups").to_pylist()}
    lists["levels"] = [rows[row["query_id"]] for row in lists["scaled"] if row["query_id"] in rows]
    texts = flow.generate.table("queries", ["query_id", "text"])
    splits = ("train", "test") if name == "scifact" else ("test",)
    return place(flow, folder, splits), texts, lists


def taken(rows: Sequence[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """The first rows, a tenth of them held out because ``prepare`` needs dev lists, in the order of GROUPS."""
    chosen = [row | {"split": "dev" if n % 10 == 9 else "train"} for n, row in enumerate(rows[:number])]
    return sorted(chosen, key=lambda row: row["query_id"])


def human(folder: Path, storage: Path) -> Lists:
    """Lists of scifact's training queries, of equally many extractive queries, and of both."""
    more = [
        "generate.generator={name: human}",
        "mine.retrievers=[{name: positives}, {name: teacher}, {name: random}]",
    ]
    flow = flow_of("human", folder, storage, *more)
    own = flow.select.table("groups").to_pylist()
    drawing("people's").shuffle(own)
    here, texts, lists = loaded(storage / "lists" / "scifact.pickle")
    every = pa.concat_tables([texts, flow.generate.table("queries", ["query_id", "text"])])
    people = taken(own, 809)
    made = lists["809 extractive"][: len(people)]
    both = sorted([*people, *made], key=lambda row: row["query_id"])
    return here, every, {"people's": people, "extractive": made, "both": both}


def judged(name: str, data: Path, storage: Path) -> Lists:
    """Lists of all judged documents, to be split into folds."""
    collection, labels = ("cranfield", "") if name.startswith("cranfield") else ("trecdl19_judged", name.split(", ")[1])
    folder = data / collection
    flow = flow_of(collection, folder, storage)
    here = place(flow, folder, ("test",))
    own = judgments(folder / "qrels" / f"llm_4prompts_{labels}.tsv") if labels else here.qrels["test"]
    run = None if labels else search_bm25(flow.config, flow.ingest, flow.queries).table("run")
    rows = list(graded(here, own, 3 if labels else 4, run))
    texts = pa.table({"query_id": list(here.queries["test"]), "text": list(here.queries["test"].values())})
    return here, texts, {"judged": rows}


def graded(here: Place, labels: Sequence[Any], highest: int, run: pa.Table | None) -> Iterator[dict[str, Any]]:
    """Yield one list per query: up to four documents of each grade, and up to eight of BM25's first unjudged documents.

    Unjudged documents get grade 0. cranfield's grade 0 marks the paper that prompted the query; it is omitted.
    """
    found: dict[str, list[str]] = {}
    if run is not None:
        for query_id, doc_id in zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True):
            found.setdefault(query_id, []).append(doc_id)
    for query_id in sorted(here.queries["test"]):
        own = {label.doc_id: max(0, label.relevance) for label in labels if label.query_id == query_id}
        draw = drawing(query_id)
        chosen: dict[str, float] = {}
        for grade in range(highest, -1 if run is None else 0, -1):
            at = sorted(doc_id for doc_id, relevance in own.items() if relevance == grade)
            chosen |= dict.fromkeys(draw.permutation(at)[:4].tolist(), grade / highest)
        if run is not None:
            chosen |= dict.fromkeys([doc_id for doc_id in found.get(query_id, []) if doc_id not in own][:8], 0.0)
        if len(set(chosen.values())) > 1:
            yield relabelled({"query_id": query_id, "split": "train", "source_doc_id": None, "kind": None}, chosen)


def relabelled(row: dict[str, Any], grades: Mapping[str, float]) -> dict[str, Any]:
    """Return the list with these grades, positives first: grades of at least ``POSITIVE``, or the highest grade."""
    positive = min(POSITIVE, max(grades.values()))
    order = sorted(grades, key=lambda doc_id: (-grades[doc_id], doc_id))
    values = [grades[doc_id] for doc_id in order]
    flags = [value >= positive - 1e-6 for value in values]
    relevant = sorted(itertools.compress(order, flags))
    return row | {
        "doc_ids": order, "grades": values, "scores": values, "positives": flags, "relevant_doc_ids": relevant
    }  # fmt: skip


def noisy_grades(rows: Sequence[dict[str, Any]], share: float, seed: int) -> list[dict[str, Any]]:
    """Replace each grade with another of the list's levels with probability ``share``."""
    draw = drawing(f"grades {seed}")
    made = []
    levels = sorted({round(grade, 6) for row in rows for grade in row["grades"]})
    for row in rows:
        grades = {
            doc_id: float(draw.choice([level for level in levels if abs(level - grade) > 1e-3]))
            if draw.random() < share
            else grade
            for doc_id, grade in zip(row["doc_ids"], row["grades"], strict=True)
        }
        made.append(relabelled(row, grades))
    return made


def noisy_positives(rows: Sequence[dict[str, Any]], share: float, seed: int) -> list[dict[str, Any]]:
    """Make the best four positives, and swap each with a non-positive document with probability ``share``."""
    draw = drawing(f"positives {seed}")
    made = []
    for row in rows:
        grades = dict(zip(row["doc_ids"], row["grades"], strict=True))
        order = sorted(grades, key=lambda doc_id: (-grades[doc_id], doc_id))
        most = max(1, min(MAX_POSITIVES, len(order) - 1, sum(grade >= POSITIVE - 1e-6 for grade in grades.values())))
        good, rest = order[:most], order[most:]
        for place_of, doc_id in enumerate(good):
            if rest and draw.random() < share:
                other = int(draw.integers(len(rest)))
                good[place_of], rest[other] = rest[other], doc_id
        made.append(relabelled(row, dict.fromkeys(good, 1.0) | dict.fromkeys(rest, 0.0)))
    return made


def drawing(what: str) -> np.random.Generator:
    """Return a random generator seeded by a text."""
    return np.random.default_rng(list(what.encode()))
