"""The dataset's training queries and judgments, without any test query or judgment."""

import pytest

from gradret.errors import DataError
from gradret.stages.queries import queries
from gradret.stages.training_queries import training_queries

QUERIES = [{"_id": f"q{number}", "text": f"query {number}"} for number in (4, 2, 1, 3, 5)]
QRELS = {
    "train": [("q2", "d3", 0), ("q1", "d1", 1), ("q2", "d2", 1), ("q3", "d1", 1), ("gone", "d1", 1)],
    "dev": [("q5", "d1", 1)],
    "test": [("q3", "d2", 2), ("q4", "d3", 1)],
}


def test_queries_of_the_train_split_but_not_of_the_evaluated_one(beir, config):
    twice = QRELS | {"train": [*QRELS["train"], ("q2", "d3", 2)]}
    made = training_queries(config(beir(queries=QUERIES, qrels=twice)))
    assert made.table("queries").to_pylist() == [
        {
            "query_id": query_id,
            "text": f"query {query_id[1]}",
            "split": "train",
            "source_doc_id": None,
            "kind": "human",
            "generator": "human",
        }
        for query_id in ("q1", "q2")
    ]
    assert made.table("qrels").to_pylist() == [
        {"query_id": query_id, "doc_id": doc_id, "relevance": relevance, "split": "train"}
        for query_id, doc_id, relevance in [("q1", "d1", 1), ("q2", "d2", 1), ("q2", "d3", 2)]
    ]
    assert made.counts == {"queries": 2, "judgments": 3}


def test_another_evaluated_split(beir, config):
    folder = beir(queries=QUERIES, qrels=QRELS | {"dev": [("q1", "d1", 1)]})
    made = training_queries(config(folder, dataset={"split": "dev"}))
    # BEIR's reader leaves the files of other splits than train and dev alone.
    assert made.table("queries")["query_id"].to_pylist() == ["q2", "q3"]


def test_poisoned_test_queries_and_judgments_change_nothing(beir, config, artifact):
    clean, poisoned = (beir(queries=QUERIES, qrels=QRELS, name=name) for name in ("clean", "poisoned"))
    texts = [row | ({"text": "poison"} if row["_id"] in ("q3", "q4") else {}) for row in QUERIES]
    judgments = {"test": [("q3", "d1", 3), ("q4", "d1", 0), ("q9", "d2", 1)]}
    beir(queries=[*texts, {"_id": "q9", "text": "poison"}], qrels=QRELS | judgments, name="poisoned")
    assert training_queries(config(clean)).path == training_queries(config(poisoned)).path
    docs = artifact("ingest", docs=[{"doc_id": f"d{n}", "text": "x", "origin": "corpus"} for n in (1, 2, 3)])
    assert queries(config(clean), docs).path != queries(config(poisoned), docs).path  # the poison is real


def test_another_training_query_or_judgment_is_another_artifact(beir, config):
    first = training_queries(config(beir(queries=QUERIES, qrels=QRELS)))
    changed = [row | ({"text": "new"} if row["_id"] == "q1" else {}) for row in QUERIES]
    judged = QRELS | {"train": [*QRELS["train"], ("q1", "d2", 1)]}
    others = [beir(queries=changed, qrels=QRELS, name="b"), beir(queries=QUERIES, qrels=judged, name="c")]
    assert len({first.path, *(training_queries(config(folder)).path for folder in others)}) == 3


@pytest.mark.parametrize("qrels", [{"test": QRELS["test"]}, QRELS | {"train": [("q4", "d1", 1)]}])
def test_a_dataset_without_training_queries(beir, config, qrels):
    with pytest.raises(DataError, match=r"no training queries.*set generate\.generator\.queries to a generator"):
        training_queries(config(beir(queries=QUERIES, qrels=qrels)))
