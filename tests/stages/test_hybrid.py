"""Fused rankings against sums in plain Python."""

import random
from fractions import Fraction

import numpy as np
import pytest

from gradret.config.run import Search
from gradret.stages.hybrid import hybrid

from . import tiny

pytestmark = pytest.mark.usefixtures("ray_session")


def run_rows(draw, queries):
    """A ranking of each of some queries, with scores that are often equal."""
    rows = []
    for number in queries:
        docs = draw.sample(range(30), draw.randint(1, 12))
        scores = sorted((draw.randint(-4, 4) / 2 for _ in docs), reverse=True)
        rows += [
            {"query_id": f"q{number:03d}", "doc_id": f"d{doc:03d}", "score": score, "rank": rank}
            for rank, (doc, score) in enumerate(zip(docs, scores, strict=True), 1)
        ]
    return rows


def fused(runs, method, k):
    """doc_ids and scores by query, in exact arithmetic until the end."""
    found = {}
    for query_id in sorted({row["query_id"] for run in runs for row in run}):
        total = {}
        for run in runs:
            rows = [row for row in run if row["query_id"] == query_id]
            scores = [Fraction(row["score"]) for row in rows]
            for row, score in zip(rows, scores, strict=True):
                if method == "rrf":
                    share = Fraction(1, 60 + row["rank"])
                else:
                    spread = max(scores) - min(scores)
                    share = (score - min(scores)) / spread if spread else Fraction(1)
                total[row["doc_id"]] = total.get(row["doc_id"], 0) + share / len(runs)
        best = sorted(total, key=lambda doc_id: (np.float32(float(total[doc_id])), doc_id), reverse=True)[:k]
        found[query_id] = [(doc_id, float(total[doc_id])) for doc_id in best]
    return found


@pytest.mark.parametrize("method", ["rrf", "weighted"])
def test_scores_and_order_are_those_of_plain_sums(settings, tmp_path, method):
    draw = random.Random(0)
    # Queries of one run alone, several shards, more queries than a block has.
    runs = {"tuned": run_rows(draw, range(300)), "bm25": run_rows(draw, range(5, 310))}
    artifacts = {
        name: tiny.artifact(tmp_path, "search", {"run": [rows[:900], rows[900:]]}, system=len(name))
        for name, rows in runs.items()
    }
    made = hybrid(settings(search=Search(k=10, hybrid=method)), artifacts)
    expected = fused(list(runs.values()), method, 10)
    rows = made.table("run").to_pylist()
    assert sorted({row["query_id"] for row in rows}) == list(expected)
    for query_id, ranking in expected.items():
        of_query = [row for row in rows if row["query_id"] == query_id]
        assert [row["rank"] for row in of_query] == list(range(1, len(ranking) + 1))
        assert [row["doc_id"] for row in of_query] == [doc_id for doc_id, _ in ranking]
        np.testing.assert_allclose([row["score"] for row in of_query], [score for _, score in ranking], rtol=1e-6)
