"""Reranking against a plain loop, for a teacher without an LLM, and for one that uses an LLM."""

import math
import random
import sys
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradret.config.run import Label
from gradret.engines import Engine
from gradret.stages import rerank as module
from gradret.stages.rerank import rerank
from gradret.teachers import Teacher as TeacherProtocol
from gradret.teachers.judge import Judge

from . import tiny

pytestmark = pytest.mark.usefixtures("ray_session")

DOCS, QUERIES = 30, 9


@dataclass(frozen=True)
class Drawn(TeacherProtocol):
    """A teacher whose scores are drawn from few values, so that many are equal; ``silent`` documents get none."""

    silent: tuple[str, ...] = ()

    def prepare(self, config, ingested, queries):
        return {}

    def load(self, prepared):
        return self

    def score(self, queries, doc_ids):
        return [
            np.array([score(query["query_id"], doc_id, self.silent) for doc_id in listed], np.float32)
            for query, listed in zip(queries, doc_ids, strict=True)
        ]


def score(query_id, doc_id, silent=()):
    return math.nan if doc_id in silent else random.Random(f"{query_id} {doc_id}").choice([-1.5, 0.1, 0.25, 7.0])


@dataclass(frozen=True)
class Reader(Engine):
    """An engine without a model: the grade is the number that ends the document."""

    model: str = "reader"

    def check(self):
        pass

    def load(self):
        return lambda prompt, seed: {"said": prompt.texts[0].split()[-1], "cut": 0}

    def answer(self, rows):
        return rows.map(_answered)


def _answered(row):
    logprobs = [0.0 if grade == row["said"] else -math.inf for grade in "0123"]
    return row | {"text": "", "finish": "stop", "tokens_in": 1, "tokens_out": 1, "logprobs": logprobs, "error": ""}


@pytest.fixture(autouse=True)
def sent_with_the_tests():
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def run(storage, name, depth, queries, shard):
    """A RUN of drawn documents, ``shard`` queries a shard, and its ranked doc_ids by query."""
    draw = random.Random(name)
    found = {f"q{n:03d}": [f"d{d:03d}" for d in draw.sample(range(DOCS), draw.randint(1, depth))] for n in queries}
    rows = [
        [{"query_id": q, "doc_id": d, "score": -float(r), "rank": r} for q in part for r, d in enumerate(found[q], 1)]
        for part in (sorted(found)[start : start + shard] for start in range(0, len(found), shard))
    ]
    return tiny.artifact(storage, "search", {"run": rows}), found


def world(tmp_path):
    docs = [tiny.doc(n, f"text {n % 4}") for n in range(DOCS)]
    queries = [tiny.query(n, "a", split="test") for n in range(QUERIES)]
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [docs[:11], docs[11:]]})
    asked = tiny.artifact(tmp_path, "queries", {"queries": [queries]})
    # Query 3 is in one run only, query 7 in none, and query 12 is not asked for.
    first, one = run(tmp_path, "one", 20, [0, 1, 2, 4, 5, 6, 8], 3)
    second, two = run(tmp_path, "two", 9, [0, 1, 2, 3, 4, 5, 6, 8, 12], 4)
    return ingested, asked, {"one": first, "two": second}, {"one": one, "two": two}


def by_loop(found, k, grade):
    """The documents of each query by score, then doc_id, both descending."""
    ranked = {}
    for query_id in sorted({query_id for run in found.values() for query_id in run} - {"q012"}):
        pool = {doc_id for run in found.values() for doc_id in run.get(query_id, [])[:k]}
        scored = [(np.float32(grade(query_id, doc_id)), doc_id) for doc_id in pool]
        kept = [(value, doc_id) for value, doc_id in scored if not math.isnan(value)]
        ranked[query_id] = [(doc_id, value) for value, doc_id in sorted(kept, reverse=True)]
    return ranked


def listed(made):
    """The same of a RUN, whose ranks are 1, 2, 3 and so on."""
    ranked = {}
    for row in made.table("run").to_pylist():
        ranked.setdefault(row["query_id"], []).append((row["doc_id"], row["score"]))
        assert row["rank"] == len(ranked[row["query_id"]])
    return ranked


@pytest.mark.parametrize("k", [5, 100])
def test_the_union_of_the_runs_in_the_teachers_order(settings, tmp_path, monkeypatch, k):
    ingested, queries, runs, found = world(tmp_path)
    config = settings(label=Label(teacher=Drawn()))
    made = rerank(config, ingested, queries, runs, k)
    assert listed(made) == by_loop(found, k, score)
    assert made.counts["unscored"] == 0
    monkeypatch.setattr(module, "_QUERIES_A_SHARD", 2)
    again = rerank(settings(label=Label(teacher=Drawn()), storage_path=str(tmp_path / "b")), ingested, queries, runs, k)
    assert made.table("run").equals(again.table("run"))
    assert len(again.shards("run")) > len(made.shards("run"))


def test_the_pairs_say_which_system_found_them(settings, tmp_path):
    ingested, queries, runs, found = world(tmp_path)
    made = rerank(settings(label=Label(teacher=Drawn())), ingested, queries, runs, 5)
    folder = tmp_path / "artifacts" / made.manifest["inputs"]["pairs"] / "pairs"
    pairs = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]).to_pylist()
    want = {}
    for system in ("one", "two"):
        for query_id in set(found[system]) - {"q012"}:
            for rank, doc_id in enumerate(found[system][query_id][:5], 1):
                want.setdefault((query_id, doc_id), []).append((system, rank))
    got = {(row["query_id"], row["doc_id"]): list(zip(row["origins"], row["ranks"], strict=True)) for row in pairs}
    assert got == want
    assert len(pairs) == len(want)


def test_what_gets_no_score_is_left_out_and_counted(settings, tmp_path):
    ingested, queries, runs, found = world(tmp_path)
    silent = tuple(f"d{n:03d}" for n in range(0, DOCS, 3))
    made = rerank(settings(label=Label(teacher=Drawn(silent))), ingested, queries, runs)
    want = by_loop(found, 100, lambda query_id, doc_id: score(query_id, doc_id, silent))
    assert listed(made) == {query_id: rows for query_id, rows in want.items() if rows}
    whole = by_loop(found, 100, score)
    assert made.counts["unscored"] == sum(map(len, whole.values())) - sum(map(len, want.values())) > 0


def test_an_llm_judge_ranks_too_and_its_equal_grades_keep_the_order_of_the_runs(settings, tmp_path):
    ingested, queries, runs, found = world(tmp_path)
    made = rerank(settings(label=Label(teacher=Judge(engine=Reader()))), ingested, queries, runs)
    assert listed(made).keys() == by_loop(found, 100, score).keys()
    for query_id, rows in listed(made).items():
        best = {}
        for run in found.values():
            for rank, doc_id in enumerate(run.get(query_id, []), 1):
                best[doc_id] = min(rank, best.get(doc_id, rank))
        grades = {doc_id: int(doc_id[1:]) % 4 for doc_id in best}
        want = sorted(best, key=lambda doc_id: (-grades[doc_id], best[doc_id], doc_id))
        assert [doc_id for doc_id, _ in rows] == want
        values = [value for _, value in rows]
        assert values == sorted(set(values), reverse=True)
        assert values == pytest.approx([grades[doc_id] / 3 for doc_id in want], abs=1e-5)


def test_runs_that_found_nothing(settings, tmp_path):
    ingested, queries, _, _ = world(tmp_path)
    empty = tiny.artifact(tmp_path, "search", {"run": [[]]})
    made = rerank(settings(label=Label(teacher=Drawn())), ingested, queries, {"empty": empty})
    assert made.table("run").num_rows == 0
    assert made.counts["unscored"] == 0
