"""The embedded collection: its documents come from this interpreter, its queries and judgments with the package."""

import collections
import hashlib
import json
import subprocess
import sys

import pytest

from gradret.datasets import Bad, _stdlib
from gradret.datasets.pydocs import Pydocs
from gradret.errors import ConfigError, DataError

# Runs where nothing else has been imported.
READ = """
import hashlib, json, sys, sysconfig
from gradret.datasets._stdlib import documents
sysconfig.get_config_vars()  # imports data of its own
before = set(sys.modules)
docs = list(documents())
print(json.dumps({
    "imported": sorted(set(sys.modules) - before),
    "hash": hashlib.sha256(json.dumps(docs).encode()).hexdigest(),
}))
"""


def rows(table, **options):
    dataset = Pydocs(**options)
    return [row for part in dataset.parts(table) for _, row in dataset.read(table, part)]


@pytest.fixture(scope="module")
def docs():
    return rows("docs")


@pytest.fixture(scope="module")
def qrels():
    return rows("qrels")


def test_several_thousand_documents_with_unique_ids(docs):
    assert 3000 < len(docs) < 20_000
    assert len({doc["doc_id"] for doc in docs}) == len(docs)


def test_documents_have_names_and_text(docs):
    for doc in docs:
        assert set(doc) == {"doc_id", "title", "text"}
        assert all(part == part.strip("\n") and part for part in doc.values())
        assert doc["doc_id"].isprintable()
    longest = max(len(doc["text"].split()) for doc in docs)
    assert longest < 2 * _stdlib.MAX_WORDS
    ids = {doc["doc_id"] for doc in docs}
    assert {"subprocess.Popen.wait", "json.dumps", "topics.for"} <= ids


def test_reading_is_deterministic_and_imports_nothing(docs):
    said = json.loads(subprocess.run([sys.executable, "-c", READ], capture_output=True, check=True).stdout)
    assert said == {"imported": [], "hash": hashlib.sha256(json.dumps(docs).encode()).hexdigest()}


def test_at_least_120_queries_with_unique_ids_and_texts():
    queries = rows("queries")
    assert len(queries) >= 120
    assert len({query["query_id"] for query in queries}) == len({query["text"] for query in queries}) == len(queries)


def test_splits_share_no_query_and_all_queries_are_judged(qrels):
    splits = collections.defaultdict(set)
    for row in qrels:
        splits[row["split"]].add(row["query_id"])
    assert set(splits) == {"dev", "test"}
    assert not splits["dev"] & splits["test"]
    assert splits["dev"] | splits["test"] == {query["query_id"] for query in rows("queries")}


def test_every_query_has_judgments_from_0_to_3_of_known_documents(docs, qrels):
    assert {row["relevance"] for row in qrels} == {0, 1, 2, 3}
    keys = [(row["query_id"], row["doc_id"]) for row in qrels]
    assert len(set(keys)) == len(keys)
    ids = {doc["doc_id"] for doc in docs}
    known = sum(row["doc_id"] in ids for row in qrels)
    assert known >= 0.9 * len(qrels)
    if sys.version_info[:2] == (3, 11):
        assert known == len(qrels)


def test_every_test_query_has_something_relevant(qrels):
    best = collections.defaultdict(int)
    for row in qrels:
        best[row["query_id"]] = max(best[row["query_id"]], row["relevance"])
    assert min(best.values()) >= 1


def test_who_evaluates_on_dev_does_not_see_test(qrels):
    assert {row["split"] for row in rows("qrels", split="dev")} == {"dev"}
    assert [row for row in qrels if row["split"] == "dev"] == rows("qrels", split="dev")


def test_no_row_is_bad(docs, qrels):
    assert not any(isinstance(row, Bad) for row in [*docs, *qrels, *rows("queries")])


def test_content_is_stable_and_differs_by_table():
    contents = {table: Pydocs().content(table) for table in ("docs", "queries", "qrels")}
    assert contents == {table: Pydocs(split="dev").content(table) for table in contents}
    assert len(set(contents.values())) == 3


def test_an_interpreter_without_source_files(monkeypatch, tmp_path):
    monkeypatch.setattr(_stdlib.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(DataError, match="no source files of its standard library"):
        Pydocs().content("docs")
    with pytest.raises(FileNotFoundError):
        list(_stdlib.documents())


def test_split_and_language_are_checked():
    with pytest.raises(ConfigError, match="split: 'train' is not one of dev, test"):
        Pydocs(split="train")
    with pytest.raises(ConfigError, match="no Snowball stemmer"):
        Pydocs(language="klingon")


@pytest.fixture
def library(monkeypatch, tmp_path):
    """A standard library of a few files."""

    def write(**files):
        for name, source in files.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(source)
        return {doc["doc_id"]: doc for doc in _stdlib.documents()}

    monkeypatch.setattr(_stdlib.sysconfig, "get_path", lambda name: str(tmp_path))
    return write


LONG = "Forty characters at least make a document here."


def test_what_becomes_a_document(library):
    found = library(
        a=f'"""{LONG}"""\nraise SystemExit\n'
        f'def f(x, *, y=1):\n    """{LONG}"""\n'
        f'def _private():\n    """{LONG}"""\n'
        'def short():\n    """Short."""\n'
        f'class C:\n    """{LONG}"""\n    def __init__(self, z):\n        """And more."""\n'
        f'    def m(self):\n        """{LONG}"""\n'
        f'if True:\n    def g():\n        """{LONG}"""\n'
        f'try:\n    import x\nexcept ImportError:\n    def h():\n        """{LONG}"""\n',
        broken="def (",
        _hidden=f'"""{LONG}"""',
        test__in__t=f'"""{LONG}"""',
        pkg__in____init__=f'"""{LONG}"""',
        **{"site-packages__in__other": f'"""{LONG}"""'},
    )
    assert set(found) == {"a", "a.f", "a.C", "a.C.m", "a.g", "a.h", "pkg"}
    assert found["a.f"]["text"] == f"f(x, *, y=1)\n\n{LONG}"
    assert found["a.C"]["text"] == f"C(self, z)\n\n{LONG}\n\nAnd more."


def test_a_long_text_becomes_passages_that_hold_every_word(library):
    words = " ".join(f"word{i}" for i in range(70))
    text = "\n\n".join(f"{words} {number}" for number in range(8))
    found = library(a=f'"""{text}"""')
    assert list(found) == ["a", "a#2", "a#3", "a#4"]
    assert {doc["title"] for doc in found.values()} == {"a"}
    assert " ".join(doc["text"] for doc in found.values()).split() == text.split()
