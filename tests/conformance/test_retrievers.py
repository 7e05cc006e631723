"""Laws for every retriever.

For a class of another package: GRADRET_RETRIEVERS="package.module:Class" pytest tests/conformance/test_retrievers.py
"""

import functools
import pickle
from pathlib import Path

import pytest

from gradret import components

from .made import outside

pytestmark = pytest.mark.usefixtures("ray_session")

BM25, DENSE = {"name": "bm25", "k": 20}, {"name": "dense", "k": 20}
NODES = {
    "bm25": {"k": 5},
    "dense": {"k": 5},
    "generated": {},
    "judged": {},
    "positives": {},
    "random": {"k": 5},
    "ranks": {"retriever": BM25, "first": 3, "last": 12},
    "ranks-sample": {"retriever": DENSE, "first": 1, "last": 15, "sample": 4},
    "ranks-of-ranks": {"retriever": {"name": "ranks", "retriever": BM25, "last": 15}, "first": 2, "last": 9},
    "run_file": {"k": 5},
    "rrf": {"retrievers": [BM25, DENSE], "k": 5},
    "source": {},
    "teacher": {"top": 3, "sampled": 3, "within": 12},
}
NODES = {name: {"name": name.partition("-")[0]} | fields for name, fields in NODES.items()}
NODES |= {node["name"]: node for node in outside("retrievers")}


class Found:
    """A retriever, and what it finds for the collection's queries."""

    def __init__(self, collection, node):
        if node["name"] == "teacher":
            node = node | {"teacher": {"name": "fusion", "encoder": collection.encoder}}
        if node["name"] == "run_file":
            node = node | {"path": str(given_run(collection))}
        self.collection, self.config = collection, collection.config("retrievers", node)
        self.retriever = collection.component("retrievers", node)
        self.rows = collection.generated.table("queries").to_pylist()
        self.prepared = self.prepare()
        self.load = functools.partial(self.retriever.load, self.prepared, 0)
        self.lists = self.load()(self.rows)

    def prepare(self):
        return self.retriever.prepare(self.config, self.collection.ingested, self.collection.generated)

    def of(self, query_id):
        return dict(zip([row["query_id"] for row in self.rows], self.lists, strict=True))[query_id]


def given_run(collection):
    """A run file of a search: equal texts get equal documents, which begin with that of the same number."""
    path, doc_ids, first = Path(collection.storage) / "given.res", sorted(collection.doc_ids), {}
    lines = []
    for place, row in enumerate(collection.generated.table("queries").to_pylist()):
        start = first.setdefault(row["text"], place)
        found = [doc_ids[(start + step) % len(doc_ids)] for step in range(9)]
        lines += [f"{row['query_id']} Q0 {doc_id} 1 {-step} t" for step, doc_id in enumerate(found)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines))
    return path


@functools.cache
def search(collection, name):
    return Found(collection, NODES[name])


@pytest.fixture(params=NODES)
def found(request, collection):
    return search(collection, request.param)


def test_every_retriever_is_here():
    assert {node["name"] for node in NODES.values()} >= set(components.names("retrievers"))


def test_one_list_a_query(found):
    assert len(found.lists) == len(found.rows)
    assert any(found.lists)
    assert found.load()([]) == []


def test_no_document_twice_and_all_of_the_collection(found):
    for one in found.lists:
        doc_ids = [doc_id for doc_id, _ in one]
        assert len(set(doc_ids)) == len(doc_ids)
        assert set(doc_ids) <= found.collection.doc_ids


def test_best_first(found):
    for one in found.lists:
        ranks = [rank for _, rank in one]
        assert all(type(rank) is int and rank >= 1 for rank in ranks)
        assert ranks == sorted(set(ranks))


def test_no_rank_is_left_out_but_where_it_says_so(found):
    """It says so by a last rank beyond the number that it finds."""
    if found.retriever.last_rank == found.retriever.k:
        for one in found.lists:
            assert [rank for _, rank in one] == list(range(1, len(one) + 1))


def test_no_more_than_it_says(found):
    k, last = found.retriever.k, found.retriever.last_rank
    most = found.retriever.max_documents(found.config, found.collection.ingested)
    longest = max(map(len, found.lists))
    assert k is None or longest <= k
    assert most is None or longest <= most
    assert last is None or max(rank for one in found.lists for _, rank in one) <= last
    assert k is None or last is None or k <= last


def test_a_query_alone_and_in_any_order(found):
    retrieve = found.load()
    assert retrieve(found.rows[::-1]) == found.lists[::-1]
    assert [retrieve([row])[0] for row in found.rows] == found.lists


def test_the_same_seed_finds_the_same(found):
    assert pickle.loads(pickle.dumps(found.load))()(found.rows) == found.lists
    assert found.load()(found.rows) == found.lists


def test_what_it_prepares_is_found_again(found):
    made = found.prepare()
    assert {name: one.fingerprint for name, one in made.items()} == {
        name: one.fingerprint for name, one in found.prepared.items()
    }


def test_one_that_searches_goes_by_the_text(found):
    """q005 and q006 have the same text, that of d005; what is drawn among ranks may differ, never a rank."""
    if found.retriever.searches:
        one, other = dict(found.of("q005")), dict(found.of("q006"))
        assert all(other[doc_id] == rank for doc_id, rank in one.items() if doc_id in other)
        assert set(one) & set(other)
        for number in range(6):
            assert f"d{number:03d}" in dict(found.of(f"q{number:03d}"))


def test_it_names_whose_ranks_it_gives(found):
    source = found.retriever.ranks_of
    assert source.ranks_of == source
    assert isinstance(type(source).searches, bool)
    assert components.name_of(source)
