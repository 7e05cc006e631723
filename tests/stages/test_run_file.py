"""Run files of other systems: which rows are kept, counted and dropped, and errors."""

import pytest

from gradret.errors import DataError
from gradret.stages.evaluate import evaluate
from gradret.stages.queries import queries
from gradret.stages.run_file import run_file


@pytest.fixture
def docs(artifact):
    return artifact("ingest", docs=[{"doc_id": d, "text": "x", "origin": "corpus"} for d in ("d1", "d2", "d3", "q1")])


@pytest.fixture
def write(tmp_path):
    def _write(*rows):
        path = tmp_path / "elsewhere.trec"
        path.write_text("".join(f"{query_id} Q0 {doc_id} 0 {score} t\n" for query_id, doc_id, score in rows))
        return path

    return _write


def test_a_run_is_measured_with_what_does_not_fit_counted(beir, config, docs, write):
    settings = config(beir(qrels={"test": [("q1", "d1", 1), ("q1", "gone", 1), ("q2", "d3", 1)]}))
    human = queries(settings, docs)
    path = write(("q1", "strange", 3), ("q1", "d1", 2), ("q9", "d2", 1))
    made = run_file(settings, docs, human, path)
    assert made.counts == {
        "rows_in": 3, "rows_out": 3, "same_ids": 0, "queries": 2, "unjudged_queries": 1, "unknown_docs": 1,
    }  # fmt: skip
    rows = [(row["query_id"], row["doc_id"], row["rank"]) for row in made.table("run").to_pylist()]
    assert rows == [("q1", "strange", 1), ("q1", "d1", 2), ("q9", "d2", 1)]
    found = evaluate(settings, human, made)
    # d1 is second, and one of two relevant documents; q2 has no results.
    values = {(row["query_id"], row["measure"]): row["value"] for row in found.table("metrics").to_pylist()}
    assert (values["q1", "MAP"], values["q1", "Recall@100"], values["q1", "judged@10"]) == (0.25, 0.5, 0.5)
    assert (values["q2", "MAP"], values["q2", "judged@10"]) == (0.0, 0.0)
    assert (found.counts["judged_queries"], found.counts["without_results"]) == (2, 1)
    assert found.counts["unjudged_queries"] == 1


def test_a_file_is_read_once_and_again_when_it_changes(beir, config, docs, write):
    settings = config(beir())
    human = queries(settings, docs)
    first = run_file(settings, docs, human, write(("q1", "d1", 2)))
    assert run_file(settings, docs, human, write(("q1", "d1", 2))) == first
    assert run_file(settings, docs, human, write(("q1", "d2", 2))) != first


@pytest.mark.parametrize("excluded", [False, True])
def test_own_ids_are_dropped_only_where_the_dataset_says_so(beir, config, docs, write, excluded):
    settings = config(beir(), dataset={"exclude_same_ids": excluded})
    rows = [("q1", "q1", 3), ("q1", "d1", 2), ("q2", "d3", 1)]
    made = run_file(settings, docs, queries(settings, docs), write(*rows))
    found = [(row["query_id"], row["doc_id"], row["rank"]) for row in made.table("run").to_pylist()]
    own = [] if excluded else [("q1", "q1", 1)]
    assert found == [*own, ("q1", "d1", 2 - excluded), ("q2", "d3", 1)]
    assert made.counts["same_ids"] == excluded


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("q1", "x1", 2), ("q1", "x2", 1)], "none of its 2 documents (such as x"),
        ([("q7", "d1", 2)], "none of its 1 queries (such as q7) has a test judgment"),
        ([], "elsewhere.trec is empty"),
    ],
)
def test_a_foreign_run_is_refused(beir, config, docs, write, rows, message):
    settings = config(beir())
    with pytest.raises(DataError) as caught:
        run_file(settings, docs, queries(settings, docs), write(*rows))
    assert message in str(caught.value)
    assert "elsewhere.trec" in str(caught.value)


def test_a_missing_file(beir, config, docs, tmp_path):
    settings = config(beir())
    with pytest.raises(DataError, match=r"nowhere\.trec cannot be read: No such file"):
        run_file(settings, docs, queries(settings, docs), tmp_path / "nowhere.trec")
