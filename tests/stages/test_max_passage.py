"""Rankings of documents against plain loops over their passages, and measures against pytrec_eval."""

import random

import numpy as np
import pytest
import pytrec_eval

from gradret.config.run import Passages, Search
from gradret.datasets.files import Files
from gradret.stages.evaluate import evaluate
from gradret.stages.max_passage import max_passage
from gradret.store.artifacts import make

from . import tiny

pytestmark = pytest.mark.usefixtures("ray_session")


def run_of(draw, queries, documents):
    """Rows of RUN: passages of some documents, whose ids contain ``#``, with scores that are often equal."""
    rows = []
    for query in queries:
        passages = [f"{doc}#{n}" for doc in documents for n in range(draw.randint(0, 4))]
        draw.shuffle(passages)
        scores = sorted((draw.randint(-3, 3) / 4 for _ in passages), reverse=True)
        ranking = enumerate(zip(passages, scores, strict=True), 1)
        rows += [{"query_id": query, "doc_id": p, "score": s, "rank": rank} for rank, (p, s) in ranking]
    return rows


def best(rows, k, left_out=()):
    """Each query's documents with their scores, in order."""
    found = {}
    for row in rows:
        document = row["doc_id"][: row["doc_id"].rindex("#")]
        if (row["query_id"], document) not in left_out:
            scores = found.setdefault(row["query_id"], {})
            scores[document] = max(scores.get(document, -9), row["score"])
    return {
        query: sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)[:k]
        for query, scores in found.items()
    }


def ranked(run):
    rankings = {}
    for row in run.table("run").to_pylist():
        ranking = rankings.setdefault(row["query_id"], [])
        ranking.append((row["doc_id"], row["score"]))
        assert row["rank"] == len(ranking)
    return rankings


@pytest.mark.parametrize("seed", range(3))
def test_a_documents_score_is_that_of_its_best_passage(settings, tmp_path, seed):
    draw = random.Random(seed)
    documents = [f"d{n}" for n in range(6)] + ["d1#0", "d!", "d#"]
    rows = run_of(draw, [f"q{n:02d}" for n in range(20)], documents)
    half = len([row for row in rows if row["query_id"] < "q10"])
    run = tiny.artifact(tmp_path, "search", {"run": [rows[:half], rows[half:]]})
    made = max_passage(settings(passages=Passages(size=5), search=Search(k=4)), run)
    assert ranked(made) == best(rows, 4)


def test_a_document_with_the_querys_id_is_left_out(settings, tmp_path):
    rows = run_of(random.Random(7), ["d1", "d2"], ["d1", "d2", "d3"])
    config = settings(dataset=Files(docs="x", exclude_same_ids=True), passages=Passages(size=5), search=Search(k=2))
    made = max_passage(config, tiny.artifact(tmp_path, "search", {"run": [rows]}))
    assert ranked(made) == best(rows, 2, left_out={("d1", "d1"), ("d2", "d2")})
    assert not config.exclude_same_ids  # of passages: one may have a query's id by chance


def test_a_run_of_documents_is_itself(settings, tmp_path):
    run = tiny.artifact(tmp_path, "search", {"run": [[]]})
    assert max_passage(settings(), run) is run


def test_queries_whose_passages_hold_too_few_documents_are_counted(settings, tmp_path, capsys):
    import pyarrow as pa

    from gradret.store.contracts import schema

    def rows(query, *passages):
        ranking = enumerate(passages, 1)
        return [{"query_id": query, "doc_id": p, "score": -float(rank), "rank": rank} for rank, p in ranking]

    found = [*rows("full", "a#0", "a#1", "a#2"), *rows("few", "a#0", "a#1"), *rows("well", "a#0", "a#1", "b#0")]

    def body(draft):
        draft.write("run", pa.Table.from_pylist(found, schema("run")))
        draft.notes["index"] = {"recall": 1}

    run = make("search", str(tmp_path), module=__name__, settings={"k": 3}, inputs={}, body=body)
    made = max_passage(settings(passages=Passages(size=5), search=Search(k=2)), run)
    assert made.counts["short_lists"] == 1
    assert made.manifest["notes"] == {"index": {"recall": 1}}
    assert "1 of 3 queries have fewer than 2 documents among their first 3 passages" in capsys.readouterr().err


def test_measures_are_those_of_judged_documents(settings, tmp_path):
    judged = {"q1": {"long": 2, "b": 1}, "q2": {"b": 1, "c": 0}}
    qrels = [
        {"query_id": q, "doc_id": d, "relevance": r, "split": "test"}
        for q, grades in judged.items()
        for d, r in grades.items()
    ]
    queries = [tiny.query(n, "text", split="test") | {"query_id": f"q{n}"} for n in (1, 2)]
    rows = [
        {"query_id": q, "doc_id": p, "score": s, "rank": rank}
        for q, ranking in {
            "q1": [("c#0", 5.0), ("long#7", 4.0), ("long#2", 3.0), ("b#0", 2.0)],
            "q2": [("c#1", 2.0), ("b#3", 2.0)],
        }.items()
        for rank, (p, s) in enumerate(ranking, 1)
    ]
    human = tiny.artifact(tmp_path, "queries", {"queries": [queries], "qrels": [qrels]})
    run = tiny.artifact(tmp_path, "search", {"run": [rows]})
    config = settings(passages=Passages(size=5))
    by_hand = {"q1": {"c": 5.0, "long": 4.0, "b": 2.0}, "q2": {"c": 2.0, "b": 2.0}}
    expected = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.100"}).evaluate(by_hand)
    for mapped, measured in ((True, max_passage(config, run)), (False, run)):
        table = evaluate(config, human, measured).table("metrics").to_pylist()
        values = {(row["query_id"], row["measure"]): row["value"] for row in table}
        for query, measures in expected.items():
            for theirs, ours in {"ndcg_cut_10": "nDCG@10", "recall_100": "Recall@100"}.items():
                # Without the mapping no judged document is found.
                np.testing.assert_allclose(values[query, ours], measures[theirs] if mapped else 0, atol=1e-12)
