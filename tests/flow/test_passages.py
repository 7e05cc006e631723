"""A run over long documents: passages inside, documents in every result."""

import json
from pathlib import Path

import pytest

from gradret import open_run
from gradret.config.loading import load
from gradret.flow import Flow
from gradret.store.artifacts import opened
from gradret.text import pieces

from ..small_run import ROOT, write_lines

SETTINGS = [
    "passages.size=80",
    "passages.overlap=10",
    "train.epochs=1",
    "generate.training_queries=true",
    "search.k=20",
]
# The student before training as the teacher: no other model, and one that reranks.
CHEAP = [
    "label.teacher={name: bi_encoder}",
    "check.stop=false",
    "generate.generator.queries=100",
    "mine.retrievers=[{name: source}, {name: positives}, {name: bm25}]",
]


@pytest.fixture(scope="module")
def books(dataset, tmp_path_factory):
    """The small collection with every three documents bound into one, and a third of its queries for training."""
    folder = tmp_path_factory.mktemp("books")
    docs = [json.loads(line) for line in (dataset / "corpus.jsonl").read_text().splitlines()]
    bound = [docs[start : start + 3] for start in range(0, len(docs), 3)]
    book_of = {doc["_id"]: book[0]["_id"] for book in bound for doc in book}
    rows = [book[0] | {"text": "\n\n".join(doc["text"] for doc in book)} for book in bound]
    write_lines(folder / "corpus.jsonl", rows)
    (folder / "queries.jsonl").write_text((dataset / "queries.jsonl").read_text())
    judged = [line.split("\t") for line in (dataset / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    trained = set(sorted({query_id for query_id, *_ in judged})[::3])
    (folder / "qrels").mkdir()
    for split in ("test", "train"):
        pairs = dict.fromkeys((q, book_of[doc]) for q, doc, _ in judged if (q in trained) == (split == "train"))
        lines = "".join(f"{query_id}\t{doc_id}\t1\n" for query_id, doc_id in pairs)
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    return folder


@pytest.fixture(scope="module")
def run(books, storage, ray_session):
    fixed = ["dataset.name=beir", f"dataset.path={books}", f"storage_path={storage}", "name=books"]
    return open_run(Flow(load(ROOT / "configs" / "quickstart.yaml", [*fixed, *SETTINGS, *CHEAP])).report)


def test_passages_are_trained_on_and_documents_are_evaluated(run, books):
    corpus = {row["_id"]: row for row in map(json.loads, (books / "corpus.jsonl").read_text().splitlines())}
    counts = run.lineage["cut"]["counts"]
    passages = run.artifact("cut").table("docs").to_pylist()
    assert counts["rows_in"] == run.lineage["ingest"]["counts"]["rows_out"] == len(corpus)
    assert counts["rows_out"] == len(passages) > len(corpus)
    for row in passages:
        document = corpus[row["doc_id"].rpartition("#")[0]]
        assert row["text"] in document["text"]
        assert row["title"] == document["title"]
        assert len(pieces(row["text"])) <= 80
    ids = {row["doc_id"] for row in passages}
    for row in run.artifact("select").table("groups").to_pylist():
        assert set(row["doc_ids"]) <= ids
    for path in sorted((Path(run) / "runs").iterdir()):
        listed = [tuple(line.split()[place] for place in (0, 2)) for line in path.read_text().splitlines()]
        assert len(set(listed)) == len(listed), path  # a document once
        assert {doc_id for _, doc_id in listed} <= corpus.keys()
    assert run.metrics["systems"]["bm25"]["Recall@100"] > 0.5
    assert "Passages" in run.report.read_text()


def test_what_the_metrics_say_is_what_pytrec_eval_says(run, books):
    import pytrec_eval

    lines = (books / "qrels" / "test.tsv").read_text().splitlines()[1:]
    qrels = {}
    for query_id, doc_id, grade in (line.split("\t") for line in lines):
        qrels.setdefault(query_id, {})[doc_id] = int(grade)
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"})
    for system, values in run.metrics["systems"].items():
        found = {query_id: {} for query_id in qrels}
        for line in (Path(run) / "runs" / f"{system}.trec").read_text().splitlines():
            query_id, _, doc_id, _, score, _ = line.split()
            found[query_id][doc_id] = float(score)
        per_query = evaluator.evaluate(found)
        mean = sum(each["ndcg_cut_10"] for each in per_query.values()) / len(qrels)
        assert values["nDCG@10"] == pytest.approx(mean, abs=1e-9), system


def test_a_search_by_hand_finds_documents_and_shows_their_best_passages(run, storage):
    texts = {row["doc_id"]: " ".join(row["text"].split()) for row in run.artifact("cut").table("docs").to_pylist()}
    query = run.artifact("queries").table("queries").to_pylist()[0]
    for system in ("bm25", "tuned"):
        hits = run.search(query["text"], 5, system)
        assert len({hit["doc_id"] for hit in hits}) == 5
        assert [hit["text"] for hit in hits] == [texts[hit["passage_id"]] for hit in hits]
        reference = run.artifact(f"search.{system}").manifest["inputs"]["run"]
        passages = opened(storage / "artifacts" / reference).table("run").to_pylist()
        if query["split"] == "test":
            first = [row["doc_id"] for row in passages if row["query_id"] == query["query_id"]]
            best = list(dict.fromkeys(each.rpartition("#")[0] for each in first))[:5]
            assert [hit["doc_id"] for hit in hits] == best


def test_a_model_is_exported_and_checked_against_the_vectors_of_passages(run, storage, tmp_path):
    from gradret.commands.export import export

    export(Path(run), tmp_path / "model")
    assert (tmp_path / "model" / "modules.json").is_file()


def test_held_out_queries_judge_documents(books, storage, tmp_path, ray_session):
    (tmp_path / "corpus.jsonl").write_text((books / "corpus.jsonl").read_text())
    fixed = ["dataset.name=beir", f"dataset.path={tmp_path}", f"storage_path={storage}", "name=held"]
    config = load(ROOT / "configs" / "quickstart.yaml", [*fixed, *SETTINGS, "generate.generator.queries=300"])
    flow = Flow(config)
    rows = flow.queries.table("qrels").to_pylist()
    known = set(flow.ingest.table("docs", ["doc_id"])["doc_id"].to_pylist())
    assert {row["doc_id"] for row in rows} <= known
    values = flow.evaluated("bm25").table("metrics").to_pylist()
    found = [row["value"] for row in values if row["measure"] == "nDCG@10"]
    assert sum(found) / len(found) > 0.5
    # No query about a held-out document is trained on.
    leaked = set(flow.leaks.table("leaks", ["query_id"])["query_id"].to_pylist())
    for row in flow.generate.table("queries").to_pylist():
        if row["source_doc_id"] and row["source_doc_id"].rpartition("#")[0] in {each["doc_id"] for each in rows}:
            assert row["query_id"] in leaked
