import pytest

from gradret.errors import ContractError
from gradret.stages._texts import doc_texts, query_texts

from . import tiny


def test_texts_are_found_in_all_shards_of_all_artifacts(tmp_path):
    docs = [[tiny.doc(n, f"text {n}", "title" if n % 2 else None) for n in part] for part in ([0, 1, 2], [3], [4, 5])]
    corpus = tiny.artifact(tmp_path, "ingest", {"docs": docs})
    written = tiny.artifact(tmp_path, "generate", {"docs": [[tiny.doc(9, "written")]], "queries": []})
    silent = tiny.artifact(tmp_path, "queries", {"queries": [[tiny.query(1, "a")]]})
    found = doc_texts([silent, corpus, written], ["d005", "d002", "d009", "d003", "d002"])
    assert found == {"d002": "text 2", "d003": "title text 3", "d005": "title text 5", "d009": "written"}
    assert doc_texts([corpus], []) == {}


def test_a_document_that_is_nowhere_is_named(tmp_path):
    corpus = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(0, "text")]]})
    with pytest.raises(ContractError, match=r"2 of 3 documents that PAIRS names are not there, 'd007' first"):
        doc_texts([corpus], ["d000", "d008", "d007"])


def test_queries_by_id(tmp_path):
    queries = tiny.artifact(tmp_path, "generate", {"queries": [[tiny.query(2, "b")], [tiny.query(1, "a")]]})
    assert query_texts(queries) == {"q001": "a", "q002": "b"}
