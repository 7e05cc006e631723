import pyarrow as pa
import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.errors import ContractError
from gradret.search.passages import passages
from gradret.texts import PASSAGES, doc_texts, query_rows, query_texts

from .stages import tiny


def test_texts_are_found_in_all_shards_of_all_artifacts(tmp_path):
    docs = [[tiny.doc(n, f"text {n}", "title" if n % 2 else None) for n in part] for part in ([0, 1, 2], [3], [4, 5])]
    corpus = tiny.artifact(tmp_path, "ingest", {"docs": docs})
    written = tiny.artifact(tmp_path, "generate", {"docs": [[tiny.doc(9, "written")]], "queries": []})
    silent = tiny.artifact(tmp_path, "queries", {"queries": [[tiny.query(1, "a")]]})
    found = doc_texts([silent, corpus, written], ["d005", "d002", "d009", "d003", "d002"])
    assert found == {"d002": "text 2", "d003": "title text 3", "d005": "title text 5", "d009": "written"}
    assert doc_texts([corpus], []) == {}


def test_passages_are_the_texts_of_the_corpus_and_are_mapped(tmp_path, ray_session):
    """An empty shard, a document without a title and one with: looked up as in DOCS, and in these files alone."""
    docs = [[tiny.doc(n, f"text {n}", "title" if n % 2 else None) for n in part] for part in ([0, 1, 2], [], [4, 5])]
    corpus = tiny.artifact(tmp_path, "ingest", {"docs": docs})
    made = passages(Config("toy", Pydocs(), str(tmp_path)), corpus)
    wanted = ["d005", "d000", "d004"]
    assert doc_texts([made], wanted) == doc_texts([corpus], wanted) == doc_texts([made, corpus], wanted)
    assert made.shards("docs") == []
    before = pa.total_allocated_bytes()
    rows = pa.ipc.open_file(pa.memory_map(str(made.path / PASSAGES / "00000.arrow"))).read_all()
    assert rows["text"].to_pylist() == ["text 0", "title text 1", "text 2"]
    assert pa.total_allocated_bytes() == before
    with pytest.raises(ContractError, match="1 of the 1 documents"):
        doc_texts([made], ["d009"])


def test_a_document_that_is_nowhere_is_named(tmp_path):
    corpus = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(0, "text")]]})
    with pytest.raises(ContractError, match=r"2 of the 3 documents in PAIRS are missing, the first is 'd007'"):
        doc_texts([corpus], ["d000", "d008", "d007"])


def test_queries_are_found_in_all_shards(tmp_path):
    rows = [tiny.query(n, f"text {n}", f"d{n:03d}") for n in range(5)]
    queries = tiny.artifact(tmp_path, "generate", {"queries": [[rows[4], rows[1]], [rows[3]], [rows[0], rows[2]]]})
    assert query_rows(queries, ["q003", "q001", "q003"]) == {"q001": rows[1], "q003": rows[3]}
    assert query_texts(queries, ["q000", "q004"]) == {"q000": "text 0", "q004": "text 4"}
    assert query_rows(queries, []) == {}


def test_a_query_that_is_nowhere_is_named(tmp_path):
    queries = tiny.artifact(tmp_path, "generate", {"queries": [[tiny.query(2, "b")], [tiny.query(1, "a")]]})
    with pytest.raises(ContractError, match=r"1 of the 2 queries in PAIRS are missing, the first is 'q009'"):
        query_rows(queries, ["q009", "q001"])
