"""Laws for every generator; test_tasks.py has more for those that use an LLM.

For a class of another package: GRADRET_GENERATORS="package.module:Class" pytest tests/conformance
"""

import functools
import pickle
import re

import pytest

from gradret import components, prompts
from gradret.generators import Generated
from gradret.store import contracts
from gradret.store.artifacts import write_shard

from .made import outside

pytestmark = pytest.mark.usefixtures("ray_session")

ENGINE = {"engine": {"name": "vllm", "model": "some/model"}}
NODES = {
    "extractive": {"queries": 100},
    "graded_documents": ENGINE,
    "human": {},
    "human-some": {"max_queries": 1},
    "llm_queries": ENGINE,
}
NODES = {name: {"name": name.partition("-")[0]} | fields for name, fields in NODES.items()}
NODES |= {node["name"]: node for node in outside("generators")}


class Prepared:
    """A generator and what it prepared for the collection."""

    def __init__(self, collection, node):
        self.collection, self.config = collection, collection.config("generators", node)
        self.generator = collection.component("generators", node)
        self.prepared = self.generator.prepare(self.config, collection.ingested, collection.sample)
        self.load = functools.partial(self.generator.load, self.prepared, len(collection.docs), 0)


@functools.cache
def prepared(collection, name):
    return Prepared(collection, NODES[name])


@pytest.fixture(params=NODES)
def given(request, collection):
    return prepared(collection, request.param)


def is_writer(given):
    return not (given.generator.asks_llm or given.generator.takes_queries)


def written(given, docs, load=None):
    write = (load or given.load)()
    return {doc["doc_id"]: write(doc["doc_id"], doc["title"] or "", doc["text"]) for doc in docs}


def test_every_generator_is_here():
    assert {node["name"] for node in NODES.values()} >= set(components.names("generators"))


def test_what_it_declares(given):
    cls = type(given.generator)
    assert isinstance(cls.asks_llm, bool)
    assert isinstance(cls.takes_queries, bool)
    assert given.generator.documents_per_query >= 0
    assert bool(given.generator.documents_per_query) == (cls.asks_llm and cls.takes_queries)
    assert hasattr(given.generator, "engine") == cls.asks_llm
    assert hasattr(given.generator, "drawn") == cls.takes_queries
    assert bool(given.generator.templates) == cls.asks_llm
    assert set(prompts.digests(given.generator.templates)) >= set(given.generator.templates)


def test_queries_have_a_text_and_a_kind(given):
    if is_writer(given):
        for queries in written(given, given.collection.docs).values():
            assert all(isinstance(query, Generated) for query in queries)
            assert all(re.search(r"\w", query.text) and query.kind for query in queries)
            texts = [query.text for query in queries]
            assert len(set(texts)) == len(texts)


def test_a_documents_queries_follow_from_the_seed_and_it(given):
    """Whatever is written before them, and by which worker."""
    if is_writer(given):
        docs = given.collection.docs
        whole = written(given, docs)
        assert any(whole.values())
        assert written(given, docs[::-1]) == whole
        assert written(given, docs, pickle.loads(pickle.dumps(given.load))) == whole
        assert {key: value for doc in docs[:5] for key, value in written(given, [doc]).items()} == {
            doc["doc_id"]: whole[doc["doc_id"]] for doc in docs[:5]
        }


def test_the_queries_that_it_takes_are_drawn_once_and_for_all(given):
    if given.generator.takes_queries:
        rows = contracts.check(given.generator.drawn(given.prepared, 0), "queries", "drawn")
        assert rows.num_rows
        query_ids = rows["query_id"].to_pylist()
        assert len(set(query_ids)) == len(query_ids)
        assert given.generator.drawn(given.prepared, 0) == rows


def test_queries_that_it_takes_without_an_llm_are_kept_or_quarantined(given, tmp_path):
    if given.generator.takes_queries and not given.generator.asks_llm:
        rows = given.generator.drawn(given.prepared, 0)
        kept = []
        for number in range(rows.num_rows):
            path = tmp_path / "queries" / f"part-{number:05d}.parquet"
            write_shard(path, rows.slice(number, 1), "queries")
            result = given.load()(path)
            assert result.rows_in == 1 == result.rows_kept + len(result.quarantined)
            kept += contracts.check(result.tables["queries"], "queries", "result").to_pylist()
        assert len({row["query_id"] for row in kept}) == len(kept)
        assert {row["query_id"] for row in kept} <= set(rows["query_id"].to_pylist())
