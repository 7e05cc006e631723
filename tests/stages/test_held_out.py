"""Queries held out of training where the dataset has documents alone."""

import pytest

from gradret.errors import DataError
from gradret.stages.held_out import held_out


def query(number, doc_id):
    return {
        "query_id": f"q{number:03d}", "text": f"text {number}", "split": None,
        "source_doc_id": doc_id, "kind": "sentence", "generator": "extractive",
    }  # fmt: skip


@pytest.fixture
def draw(settings, artifact):
    """HELD_OUT of three queries about each of a number of documents, d000 having the copies x and y."""

    def run(documents, seed=0):
        queries = [query(3 * doc + number, f"d{doc:03d}") for doc in range(documents) for number in range(3)]
        generated = artifact("generate", queries=queries)
        copies = [{"doc_id": doc_id, "kept_doc_id": "d000", "reason": "equal"} for doc_id in ("x", "y")]
        return held_out(settings(seed=seed), artifact("dedupe", copies=copies), generated)

    return run


@pytest.mark.parametrize(
    ("documents", "queries"),
    [(3, 3), (30, 30), (100, 51), (600, 90)],
    ids=["a third of few", "a third", "fifty, rounded up to whole documents", "one in twenty"],
)
def test_documents_are_held_out_with_all_their_queries(draw, documents, queries):
    made = draw(documents)
    rows = made.table("queries").to_pylist()
    assert len(rows) == queries == made.counts["test_queries"]
    assert {row["split"] for row in rows} == {"test"}
    sources = [row["source_doc_id"] for row in rows]
    assert all(sources.count(doc_id) == 3 for doc_id in sources)


def test_the_source_and_its_copies_are_relevant(draw):
    made = next(
        made for seed in range(20) if "d000" in (made := draw(6, seed)).table("queries")["source_doc_id"].to_pylist()
    )
    relevant = {}
    for row in made.table("qrels").to_pylist():
        assert (row["relevance"], row["split"]) == (1, "test")
        relevant.setdefault(row["query_id"], set()).add(row["doc_id"])
    expected = {
        row["query_id"]: {"d000", "x", "y"} if row["source_doc_id"] == "d000" else {row["source_doc_id"]}
        for row in made.table("queries").to_pylist()
    }
    assert relevant == expected


def test_the_seed_decides_the_draw(draw):
    first, again, other = (draw(100, seed).table("queries")["query_id"].to_pylist() for seed in (0, 0, 1))
    assert first == again != other


def test_queries_without_a_source_are_refused(settings, artifact):
    generated = artifact("generate", queries=[query(1, None)])
    with pytest.raises(DataError, match="no generated query has a source document"):
        held_out(settings(), artifact("dedupe", copies=[]), generated)
