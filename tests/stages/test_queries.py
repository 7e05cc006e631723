"""From a BEIR folder to QUERIES and QRELS, and errors for invalid folders."""

import dataclasses

import pytest

from gradret.errors import DataError
from gradret.stages.queries import queries


@pytest.fixture
def docs(artifact):
    return artifact("ingest", docs=[{"doc_id": f"d{n}", "text": "x", "origin": "corpus"} for n in range(1, 4)])


def refused(config, docs):
    with pytest.raises(DataError) as caught:
        queries(config, docs)
    return str(caught.value)


def many(count):
    """Enough good rows that one bad row is less than a tenth."""
    rows = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(count)]
    return {"queries": rows, "qrels": {"test": [(row["_id"], "d1", 1) for row in rows]}}


def test_queries_and_judgments(beir, config, docs):
    folder = beir(
        queries=[{"_id": f"q{n}", "text": f"query {n}"} for n in (3, 1, 2)],
        qrels={"test": [("q1", "d1", 2), ("q1", "d2", 0)], "train": [("q1", "d3", 1), ("q2", "d3", 1)]},
    )
    made = queries(config(folder), docs)
    rows = made.table("queries").to_pylist()
    assert [(row["query_id"], row["text"], row["split"], row["generator"]) for row in rows] == [
        ("q1", "query 1", "test", "human"),
        ("q2", "query 2", "train", "human"),
        ("q3", "query 3", None, "human"),
    ]
    judged = [tuple(row.values()) for row in made.table("qrels").to_pylist()]
    assert judged == [
        ("q1", "d1", 2, "test"),
        ("q1", "d2", 0, "test"),
        ("q1", "d3", 1, "train"),
        ("q2", "d3", 1, "train"),
    ]
    assert made.counts == {
        "rows_in": 7, "queries": 3, "judgments": 4, "quarantined": 0, "judgments_of_unknown_docs": 0, "test_queries": 1,
        "queries_without_judgments": 1, "queries_that_are_documents": 0,
    }  # fmt: skip


def test_the_evaluated_split_is_called_test_and_the_real_test_stays_out(beir, config, docs):
    qrels = {"dev": [("q1", "d1", 1)], "test": [("q2", "d2", 1)]}
    made = queries(config(beir(qrels=qrels), dataset={"split": "dev"}), docs)
    assert [tuple(row.values()) for row in made.table("qrels").to_pylist()] == [("q1", "d1", 1, "test")]
    assert made.counts["test_queries"] == 1


def test_dev_of_the_embedded_collection_holds_no_test_judgment(config, artifact):
    embedded = dataclasses.replace(config("x"), dataset=parse_pydocs("dev"))
    ids = sorted({row["doc_id"] for _, row in embedded.dataset.read("qrels", embedded.dataset.parts("qrels")[0])})
    docs = artifact("ingest", docs=[{"doc_id": doc_id, "text": "x", "origin": "corpus"} for doc_id in ids])
    dev = queries(embedded, docs)
    test = queries(dataclasses.replace(embedded, dataset=parse_pydocs("test")), docs)
    evaluated = [
        {row["query_id"] for row in made.table("qrels").to_pylist() if row["split"] == "test"} for made in (dev, test)
    ]
    assert evaluated[0]
    assert evaluated[1]
    assert not evaluated[0] & evaluated[1]


def parse_pydocs(split):
    from gradret.datasets.pydocs import Pydocs

    return Pydocs(split=split)


def test_judgments_of_unknown_documents_are_kept_and_counted(beir, config, docs):
    made = queries(config(beir(qrels={"test": [("q1", "d1", 1), ("q2", "gone", 1)]})), docs)
    assert made.counts["judgments_of_unknown_docs"] == 1
    assert [row["doc_id"] for row in made.table("qrels").to_pylist()] == ["d1", "gone"]
    assert made.counts["quarantined"] == 0


def test_qrels_of_another_corpus(beir, config, docs):
    folder = beir(qrels={"test": [("q1", "d1", 1), ("q1", "x", 1), ("q2", "y", 1)]})
    said = "2 of 3 judgments name documents that the corpus lacks (such as 'x'); do the qrels belong to this corpus?"
    assert refused(config(folder), docs) == said


def test_bad_rows_are_quarantined_with_place_and_reason(beir, config, docs):
    good = many(40)
    rows = [*good["qrels"]["test"], ("q0", "d1", 3), ("nobody", "d1", 1), ("q1", "d2", "x"), ("q1", "d2")]
    folder = beir(queries=[*good["queries"], {"_id": "empty", "text": " "}], qrels={"test": rows})
    made = queries(config(folder), docs)
    qrels, lines = folder / "qrels" / "test.tsv", folder / "queries.jsonl"
    assert {(row["where"], row["reason"]) for row in made.table("quarantine").to_pylist()} == {
        (f"{lines}:41", "empty text"),
        (f"{qrels}:2", "judged again in a later row, which counts"),
        (f"{qrels}:43", "judgment of an unknown query"),
        (f"{qrels}:44", "the grade is not a whole number"),
        (f"{qrels}:45", "expected the 3 columns of the header"),
    }
    counts = made.counts
    assert counts["rows_in"] == 85 == counts["queries"] + counts["judgments"] + counts["quarantined"]
    assert sum(made.manifest["quarantined"].values()) == counts["quarantined"] == 5
    assert ("q0", "d1", 3) in {tuple(row.values())[:3] for row in made.table("qrels").to_pylist()}


def test_queries_that_are_documents_are_counted_and_said(beir, config, docs, capsys):
    texts = {"d1": "x", "d2": "another text", "q3": "x"}
    rows = [{"_id": query_id, "text": text} for query_id, text in texts.items()]
    folder = beir(queries=rows, qrels={"test": [("d1", "d3", 1)]})
    made = queries(config(folder), docs)
    assert made.counts["queries_that_are_documents"] == 1
    assert "1 have the id and the text of a document" in capsys.readouterr().err
    assert queries(config(folder, dataset={"exclude_same_ids": True}), docs).counts["queries_that_are_documents"] == 1
    assert "have the id" not in capsys.readouterr().err


def test_too_many_bad_rows_stop_with_the_first(beir, config, docs):
    folder = beir(qrels={"test": [("q1", "d1", 1), ("a", "d1", 1), ("b", "d1", 1)]})
    said = refused(config(folder), docs)
    assert said.startswith(
        "queries and qrels: 2 of 5 rows cannot be used, more than ingest.max_bad_share=0.1; the first"
    )
    assert f"{folder / 'qrels' / 'test.tsv'}:3: judgment of an unknown query" in said


def test_a_duplicate_query_id_names_both_places(beir, config, docs):
    folder = beir(queries=[{"_id": "q1", "text": "a"}, {"_id": "q2", "text": "b"}, {"_id": "q1", "text": "a"}])
    path = folder / "queries.jsonl"
    assert refused(config(folder), docs) == f"query_id 'q1' occurs twice: {path}:1, {path}:3; ids must be unique"


@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_no_queries(beir, config, docs, data):
    folder = beir(queries=data)
    assert refused(config(folder), docs) == f"{folder / 'queries.jsonl'}: contains no queries"


def test_no_judged_query_in_the_split(beir, config, docs):
    folder = beir(qrels={"test": [], "train": [("q1", "d1", 1)]})
    assert refused(config(folder), docs) == "no query has a judgment in split 'test'; set dataset.split"


def test_a_missing_split_names_those_there_are(beir, config, docs):
    said = refused(config(beir(), dataset={"split": "valid"}), docs)
    assert said.endswith(
        "valid.tsv: no such file; a BEIR folder has qrels/valid.tsv; dataset.split has files for: test"
    )


def test_the_artifact_depends_on_files_split_and_documents(beir, config, docs, artifact):
    folder = beir(qrels={"test": [("q1", "d1", 1)], "dev": [("q1", "d1", 1)]})
    first = queries(config(folder), docs)
    assert queries(config(folder, dataset={"language": "none"}), docs).path == first.path
    other_docs = artifact("ingest", docs=[{"doc_id": "d1", "text": "x", "origin": "corpus"}])
    paths = {
        first.path,
        queries(config(folder, dataset={"split": "dev"}), docs).path,
        queries(config(folder), other_docs).path,
        queries(config(beir(name="other", qrels={"test": [("q1", "d1", 2)]})), docs).path,
    }
    assert len(paths) == 4
