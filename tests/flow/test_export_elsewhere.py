"""The exported model in the evaluators of MTEB and sentence-transformers: the measures of the run's report."""

import json

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from gradret.cli import main
from gradret.commands.export import export


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    return SentenceTransformer(str(export(finished, tmp_path_factory.mktemp("exported") / "model")), device="cpu")


@pytest.fixture(scope="module")
def collection(dataset):
    """Documents, queries and judgments of the BEIR folder."""
    docs, queries = (
        [json.loads(line) for line in (dataset / f"{name}.jsonl").open()] for name in ("corpus", "queries")
    )
    judged = {}
    for line in (dataset / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query_id, doc_id, grade = line.split("\t")
        judged.setdefault(query_id, {})[doc_id] = int(grade)
    return docs, queries, judged


def test_mteb_measures_what_the_report_says(finished, exported, collection):
    import mteb
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    docs, queries, judged = collection
    unknown = ("date", "domains", "task_subtypes", "license", "annotations_creators", "dialect", "sample_creation")

    class Local(AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name="Local",
            description="A BEIR folder.",
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            dataset={"path": "local", "revision": "1"},
            bibtex_citation=None,
            reference=None,
            **dict.fromkeys(unknown),
        )

        def load_data(self, **_):
            corpus = [{"id": doc["_id"], "title": doc["title"], "text": doc["text"]} for doc in docs]
            asked = [{"id": query["_id"], "text": query["text"]} for query in queries]
            split = {"corpus": Dataset.from_list(corpus), "queries": Dataset.from_list(asked)}
            self.dataset = {"default": {"test": split | {"relevant_docs": judged, "top_ranked": None}}}
            self.data_loaded = True

    (scores,) = mteb.evaluate(exported, Local(), cache=None, show_progress_bar=False)[0].scores["test"]
    tuned = json.loads((finished / "metrics.json").read_text())["systems"]["tuned"]
    assert scores["ndcg_at_10"] == pytest.approx(tuned["nDCG@10"], abs=1e-4)
    assert scores["recall_at_100"] == pytest.approx(tuned["Recall@100"], abs=1e-4)
    assert scores["mrr_at_10"] == pytest.approx(tuned["MRR@10"], abs=1e-4)


def test_sentence_transformers_measures_the_same_where_every_grade_is_1(
    finished, exported, collection, tmp_path, capsys
):
    docs, queries, judged = collection
    evaluator = InformationRetrievalEvaluator(
        {query["_id"]: query["text"] for query in queries},
        {doc["_id"]: f"{doc['title']} {doc['text']}" for doc in docs},
        {query_id: set(grades) for query_id, grades in judged.items()},
        write_csv=False,
    )
    scores = {name.removeprefix("dot_"): value for name, value in evaluator(exported).items()}
    lines = [f"{query_id} 0 {doc_id} 1\n" for query_id, grades in judged.items() for doc_id in grades]
    (tmp_path / "qrels.txt").write_text("".join(lines))
    run, measures = str(finished / "runs" / "tuned.trec"), "nDCG@10,Recall@10,MRR@10"
    assert main(["evaluate", run, "--qrels", str(tmp_path / "qrels.txt"), "--measures", measures, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["datasets"]["qrels.txt"]["systems"]["tuned"]
    assert scores["ndcg@10"] == pytest.approx(found["nDCG@10"], abs=1e-4)
    assert scores["recall@10"] == pytest.approx(found["Recall@10"], abs=1e-4)
    assert scores["mrr@10"] == pytest.approx(found["MRR@10"], abs=1e-4)
