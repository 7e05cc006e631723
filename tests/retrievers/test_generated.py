"""The documents that were written for a query, best grade first."""

import pytest

from gradret.errors import ConfigError
from gradret.pairs import pair_id
from gradret.retrievers.generated import Generated, GeneratedGrades


@pytest.fixture
def generated(artifact):
    """q1 has three documents, the shard's order and their names not those of the grades; q2 has two alike."""
    grades = {"q1": {"a": 1.0, "b": 3.0, "c": 0.0}, "q2": {"y": 2.0, "x": 2.0}}
    labels = [
        {"pair_id": pair_id(query_id, doc_id), "query_id": query_id, "doc_id": doc_id, "score": score}
        for query_id, docs in grades.items()
        for doc_id, score in docs.items()
    ]
    labels = [row | {"source": "generated"} for row in labels]
    return artifact("generate", labels=labels)


def test_best_grade_first(generated):
    retriever = Generated()
    retrieve = retriever.load(retriever.prepare(None, None, generated), 0)
    rows = [{"query_id": query_id} for query_id in ("q2", "unknown", "q1")]
    assert retrieve(rows) == [[("x", 1), ("y", 2)], [], [("b", 1), ("a", 2), ("c", 3)]]
    assert retrieve([]) == []


def test_grades_come_in_the_order_of_the_queries(generated):
    assert GeneratedGrades(generated).of(["q2", "q1"]) == [{"y": 2.0, "x": 2.0}, {"a": 1.0, "b": 3.0, "c": 0.0}]


def test_without_generated_documents(artifact):
    other = artifact("generate", queries=[{"query_id": "q1", "text": "x", "generator": "extractive"}])
    with pytest.raises(ConfigError, match=r"^mine\.retrievers: .*set generate\.generator to graded_documents"):
        Generated().prepare(None, None, other)
