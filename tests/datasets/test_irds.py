"""ir_datasets by id, compared with ir_datasets on small files in its layout."""

import pytest

from gradret.datasets import Bad, irds, read_settings
from gradret.datasets.irds import Irds
from gradret.errors import ConfigError, DataError

from .conftest import SCIFACT

pytestmark = pytest.mark.usefixtures("home")
TEST, TRAIN = "beir/scifact/test", "beir/scifact/train"


def placed(dataset, table):
    return [(part.path, n, row) for part in dataset.parts(table) for n, row in dataset.read(table, part)]


def rows(dataset, table):
    return [row for _, _, row in placed(dataset, table)]


def test_rows_of_all_tables():
    dataset = Irds(test=TEST, train=TRAIN)
    docs = [{"doc_id": d["_id"], "title": d["title"], "text": d["text"]} for d in SCIFACT["corpus.jsonl"]]
    assert rows(dataset, "docs") == docs
    assert [row["query_id"] for row in rows(dataset, "queries")] == ["q1", "q2", "q3"]
    assert rows(dataset, "queries")[0] == {"query_id": "q1", "text": "query 1"}
    assert [tuple(row.values()) for row in rows(dataset, "qrels")] == [
        ("q1", "d1", 1, "test"),
        ("q1", "d2", 1, "test"),
        ("q2", "d3", 1, "test"),
        ("q3", "d4", 1, "train"),
    ]


@pytest.mark.parametrize("name", [TEST, "vaswani"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_pieces_of_any_size_read_what_ir_datasets_reads(monkeypatch, name, size):
    import ir_datasets

    monkeypatch.setattr(irds, "_PART_DOCS", size)
    dataset = Irds(test=name)
    expected = [(doc.doc_id, doc.text) for doc in ir_datasets.load(name).docs_iter()]
    found = placed(dataset, "docs")
    assert [(row["doc_id"], row["text"]) for _, _, row in found] == expected
    assert [n for _, n, _ in found] == list(range(1, len(expected) + 1))
    assert len(dataset.parts("docs")) == -(-len(expected) // size)


def test_documents_without_a_title():
    dataset = Irds(test="vaswani")
    assert rows(dataset, "docs")[2] == {"doc_id": "3", "title": "", "text": "text 3\n"}
    assert [tuple(row.values()) for row in rows(dataset, "qrels")] == [("1", "3", 1, "test"), ("1", "5", 1, "test")]


def test_documents_and_queries_of_every_shape():
    from ir_datasets.datasets.medline import MedlineDoc
    from ir_datasets.formats import GenericQuery, TrecDoc, TrecQuery
    from ir_datasets.formats.trec import TitleUrlTextDoc

    titled = irds._doc(TitleUrlTextDoc("1", "head", "http://x", "words"))
    assert titled == {"doc_id": "1", "title": "head", "text": "words"}
    assert irds._doc(MedlineDoc("1", "head", "abstract")) == {"doc_id": "1", "title": "", "text": "head abstract"}
    assert irds._doc(TrecDoc("1", " ", ())) == Bad("empty title and text", str(TrecDoc("1", " ", ())))
    assert irds._query(TrecQuery("1", "title", "description", "narrative")) == {"query_id": "1", "text": "title"}
    assert irds._query(GenericQuery("1", "")).reason == "empty text"


def test_the_evaluated_split_brings_its_own_test_and_no_other():
    dataset = Irds(test=TEST, dev="vaswani", train=TRAIN, split="train")
    assert {row["split"] for row in rows(dataset, "qrels")} == {"train", "dev"}


def test_content_is_that_of_the_ids():
    test, train = Irds(test=TEST, train=TRAIN), Irds(test=TRAIN)
    assert test.content("docs") == train.content("docs") != Irds(test="vaswani").content("docs")
    assert len({each.content(table) for each in (test, train) for table in ("queries", "qrels")}) == 2
    assert read_settings(test) == read_settings(train) == {"class": Irds}


def test_another_version_of_ir_datasets_is_another_content(monkeypatch):
    import ir_datasets

    before = [Irds(test=TEST).content(table) for table in ("docs", "qrels")]
    monkeypatch.setattr(ir_datasets, "__version__", "0.0")
    after = [Irds(test=TEST).content(table) for table in ("docs", "qrels")]
    assert all(one != two for one, two in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("beir/scifct/test", r"'beir/scifct/test' is not an id of ir_datasets; did you mean 'beir/scifact/test'"),
        ("beir/scifact", "beir/scifact has no qrels"),
        ("beir", "beir has no docs and no queries and no qrels"),
    ],
)
def test_ids_that_will_not_do(name, problem):
    for table in ("docs", "queries", "qrels"):
        with pytest.raises(DataError, match=rf"dataset\.test: {problem}"):
            Irds(test=name).content(table)


def test_without_a_network(monkeypatch):
    monkeypatch.setenv("IR_DATASETS_DL_TRIES", "1")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for table in ("docs", "queries", "qrels"):
        with pytest.raises(DataError, match=r"ir_datasets cannot read beir/nfcorpus/test: .*copy the folder"):
            rows(Irds(test="beir/nfcorpus/test"), table)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("gradret.datasets.irds.importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"dataset irds: the package ir_datasets is not installed; pip install 'gradret\[irds\]'"
    ):
        Irds(test=TEST).content("docs")


def test_what_is_checked_when_it_is_made():
    with pytest.raises(ConfigError, match="test: is required: an id of ir_datasets"):
        Irds(train=TRAIN)
    with pytest.raises(ConfigError, match="split: 'eval' is not one of test, dev, train"):
        Irds(test=TEST, split="eval")
    with pytest.raises(ConfigError, match="no Snowball stemmer"):
        Irds(test=TEST, language="klingon")
