"""Judged documents of the training split only."""

import pytest

from gradret.retrievers.judged import Judged
from gradret.retrievers.positives import Positives

QUERIES = [{"_id": f"q{number}", "text": f"query {number}"} for number in range(1, 6)]
QRELS = {
    "train": [
        ("q1", "d2", 1), ("q1", "d3", 2), ("q1", "d1", 2), ("q1", "gone", 2),
        ("q2", "d1", 0), ("q2", "d2", -1),
        ("q3", "d1", 1),
        ("q5", "d3", 1),
    ],
    "dev": [("q4", "d1", 1), ("q1", "d4", 1)],
    "test": [("q3", "d2", 2)],
}  # fmt: skip


@pytest.fixture
def docs(artifact):
    return artifact("ingest", docs=[{"doc_id": f"d{n}", "text": "x", "origin": "corpus"} for n in range(1, 5)])


def found(config, docs, retriever, rows):
    return retriever.load(retriever.prepare(config, docs, None), 0)(rows)


def human(*query_ids):
    return [{"query_id": query_id, "generator": "human"} for query_id in query_ids]


def test_relevant_documents_the_best_judged_first(beir, config, docs):
    settings = config(beir(queries=QUERIES, qrels=QRELS))
    want = {"q1": [("d1", 1), ("d3", 2), ("d2", 3)], "q2": [], "q3": [], "q4": [], "q5": [("d3", 1)], "q9": []}
    assert found(settings, docs, Positives(), human(*want)) == list(want.values())
    assert found(settings, docs, Positives(), human("q5", "q1")) == [want["q5"], want["q1"]]
    assert found(settings, docs, Positives(), []) == []
    assert Positives().prepare(settings, docs, None)["qrels"].counts == {
        "positives": 4,
        "judgments_of_unknown_docs": 1,
    }


def test_the_lowest_judgment_that_counts(beir, config, docs):
    settings = config(beir(queries=QUERIES, qrels=QRELS))
    assert found(settings, docs, Positives(2), human("q1", "q5")) == [[("d1", 1), ("d3", 2)], []]
    assert found(settings, docs, Positives(0), human("q2")) == [[("d1", 1)]]


def test_all_that_is_judged(beir, config, docs):
    settings = config(beir(queries=QUERIES, qrels=QRELS))
    assert found(settings, docs, Judged(), human("q1", "q2", "q3")) == [
        [("d1", 1), ("d3", 2), ("d2", 3)],
        [("d1", 1)],
        [],
    ]
    assert found(settings, docs, Judged(min_relevance=-1), human("q2")) == [[("d1", 1), ("d2", 2)]]


def test_a_generated_query_of_the_same_name_has_none(beir, config, docs):
    settings = config(beir(queries=QUERIES, qrels=QRELS))
    rows = [{"query_id": "q1", "generator": "extractive"}, *human("q5")]
    assert found(settings, docs, Positives(), rows) == [[], [("d3", 1)]]


def test_test_judgments_change_nothing(beir, config, docs):
    poison = QRELS | {"test": [("q3", "d4", 3)]}
    folders = [beir(queries=QUERIES, qrels=qrels, name=name) for qrels, name in ((QRELS, "a"), (poison, "b"))]
    clean, poisoned = (Positives().prepare(config(folder), docs, None)["qrels"] for folder in folders)
    assert clean.path == poisoned.path


def test_without_training_judgments_nothing_is_found_and_it_is_said(beir, config, docs, capsys):
    settings = config(beir(queries=QUERIES, qrels={"test": QRELS["test"]}))
    assert found(settings, docs, Positives(), human("q1", "q3")) == [[], []]
    assert "positives: none, since the dataset has no training queries" in capsys.readouterr().err
