"""A complete run's training lists, exported, and read back with each library and as a dataset, against GROUPS."""

import itertools
import json

import datasets
import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss

from gradret import open_run
from gradret.arguments import FORMATS as CHOICES
from gradret.commands import export_lists
from gradret.commands.export import FORMATS, export
from gradret.config.loading import load
from gradret.datasets.lists import Lists
from gradret.errors import ConfigError
from gradret.flow import Flow

from ..small_run import ROOT


@pytest.fixture
def lists(finished, storage, dataset):
    """GROUPS with texts, as rows, by the files alone."""
    lineage = json.loads((finished / "lineage.json").read_text())
    groups, queries = lineage["train"]["inputs"]["groups"], lineage["train"]["inputs"]["queries"]
    texts = {row["query_id"]: row["text"] for row in rows(storage / "artifacts" / queries / "queries")}
    lines = map(json.loads, (dataset / "corpus.jsonl").read_text().splitlines())
    docs = {line["_id"]: (line["title"], line["text"]) for line in lines}
    found = rows(storage / "artifacts" / groups / "groups")
    for row in found:
        row["query"] = texts[row["query_id"]]
        row["docs"] = [docs[doc_id] for doc_id in row["doc_ids"]]
        row["passages"] = [" ".join(filter(None, doc)) for doc in row["docs"]]
    return found


def rows(folder):
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def of(lists, split):
    return [row for row in lists if row["split"] == split]


def read_json(folder, split):
    """As FlagEmbedding and Tevatron read it."""
    path = str(folder / f"{split}.jsonl")
    return list(datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(folder.parent / "cache")))


def flagged(row, values, flag):
    return [value for value, positive in zip(values, row["positives"], strict=True) if positive is flag]


def test_flagembedding(finished, lists, tmp_path):
    folder = export(finished, tmp_path / "given", "flagembedding")
    for split in ("train", "dev"):
        want = [
            {
                "query": row["query"],
                "pos": flagged(row, row["passages"], True),
                "neg": flagged(row, row["passages"], False),
                "pos_scores": flagged(row, row["grades"], True),
                "neg_scores": flagged(row, row["grades"], False),
            }
            for row in of(lists, split)
        ]
        assert read_json(folder, split) == want
    assert sorted(path.name for path in folder.iterdir()) == ["dev.jsonl", "train.jsonl"]


def test_tevatron(finished, lists, tmp_path):
    folder = export(finished, tmp_path / "given", "tevatron")
    for split in ("train", "dev"):
        for got, row in zip(read_json(folder, split), of(lists, split), strict=True):
            passages = [
                {"docid": doc_id, "title": title, "text": text, "score": grade}
                for doc_id, (title, text), grade in zip(row["doc_ids"], row["docs"], row["grades"], strict=True)
            ]
            assert (got["query_id"], got["query"]) == (row["query_id"], row["query"])
            assert got["positive_passages"] == flagged(row, passages, True)
            assert got["negative_passages"] == flagged(row, passages, False)


def test_hf_has_the_whole_lists(finished, lists, tmp_path, monkeypatch):
    monkeypatch.setattr(export_lists, "_BLOCK", 100)  # several blocks of a shard
    found = datasets.load_from_disk(str(export(finished, tmp_path / "given", "hf")))
    assert set(found) == {"train", "dev"}
    for split in found:
        want = [{**row, "docs": row["passages"]} for row in of(lists, split)]
        for row in want:
            del row["passages"]
        assert list(found[split]) == want


def test_sentence_transformers(finished, lists, tmp_path):
    folder = export(finished, tmp_path / "given", "sentence-transformers")
    listed = datasets.load_from_disk(str(folder / "lists"))
    for split in ("train", "dev"):
        want = [{"query": row["query"], "docs": row["passages"], "labels": row["grades"]} for row in of(lists, split)]
        assert list(listed[split]) == want
    triplets = datasets.load_from_disk(str(folder / "triplets"))["train"]
    assert len(triplets) == sum(max(sum(row["positives"]), row["positives"].count(False)) for row in of(lists, "train"))
    want = {
        (row["query"], *pair)
        for row in of(lists, "train")
        for pair in itertools.product(
            *(flagged(row, list(zip(row["passages"], row["grades"], strict=True)), x) for x in (True, False))
        )
    }
    got = [(row["query"], (row["positive"], row["label"][0]), (row["negative"], row["label"][1])) for row in triplets]
    assert set(got) <= want
    assert {(query, text) for query, _, text in got} == {(query, text) for query, _, text in want}


def test_sentence_transformers_losses_take_them(finished, tmp_path):
    """The columns' order and types are what the losses' documentation asks for."""
    folder = export(finished, tmp_path / "given", "sentence-transformers")
    batch = datasets.load_from_disk(str(folder / "triplets"))["train"].select(range(4))
    model = SentenceTransformer(str(finished / "model"), device="cpu")
    assert batch.column_names == ["query", "positive", "negative", "label"]
    features = [model.preprocess(list(batch[name])) for name in batch.column_names[:-1]]
    loss = DistillKLDivLoss(model)(features, torch.tensor(batch["label"]))
    vectors = [torch.tensor(model.encode(list(batch[name]))) for name in batch.column_names[:-1]]
    scores = torch.stack([(vectors[0] * vectors[1]).sum(1), (vectors[0] * vectors[2]).sum(1)], 1)
    teacher = torch.tensor(batch["label"]).softmax(1)
    want = (teacher * (teacher.log() - scores.log_softmax(1))).sum(1).mean()
    assert loss.item() == pytest.approx(want.item(), rel=1e-4)


READ_BACK = {
    "hf": ("hf", "{}"),
    "flagembedding": ("flagembedding", "{}.jsonl"),
    "tevatron": ("tevatron", "{}.jsonl"),
    "labelled": ("sentence-transformers", "lists/{}"),
    "triplets": ("sentence-transformers", "triplets/{}"),
}


def judgments(lists, form):
    """Relevance and grade by query and document: by ids, or by texts where the format has no ids."""
    found = {}
    for row in lists:
        docs = row["doc_ids"] if form in {"hf", "tevatron"} else row["passages"]
        query = row["query_id"] if form in {"hf", "tevatron"} else row["query"]
        for doc, grade, positive in zip(docs, row["grades"], row["positives"], strict=True):
            relevant = grade > 0.5 if form == "labelled" else positive
            other = found.get((query, doc), (0, 0.0))  # of a query whose text is another's
            found[query, doc] = max(int(relevant), other[0]), max(grade, other[1])
    return found


@pytest.mark.parametrize("form", READ_BACK)
def test_the_dataset_lists_reads_them_back(finished, lists, tmp_path, form):
    name, place = READ_BACK[form]
    folder = export(finished, tmp_path / "given", name)
    dataset = Lists(path=str(folder / place.format("train")), test=str(folder / place.format("dev")))
    tables = {
        table: [row for part in dataset.parts(table) for _, row in dataset.read(table, part)]
        for table in ("docs", "queries", "qrels")
    }
    texts = {row["doc_id"]: " ".join(filter(None, (row["title"], row["text"]))) for row in tables["docs"]}
    queries = {row["query_id"]: row["text"] for row in tables["queries"]}
    assert set(texts.values()) == {passage for row in lists for passage in row["passages"]}
    assert set(queries.values()) == {row["query"] for row in lists}
    if form in {"hf", "tevatron"}:
        assert set(texts) == {doc_id for row in lists for doc_id in row["doc_ids"]}
        assert queries == {row["query_id"]: row["query"] for row in lists}
        queries, texts = ({key: key for key in ids} for ids in (queries, texts))
    scores = {(queries[query_id], texts[doc_id]): score for _, query_id, doc_id, score in dataset.scores()}
    for split, exported in (("train", "train"), ("test", "dev")):
        want = judgments(of(lists, exported), form)
        rows = [row for row in tables["qrels"] if row["split"] == split]
        got = {(queries[row["query_id"]], texts[row["doc_id"]]): row["relevance"] for row in rows}
        assert got == {pair: relevance for pair, (relevance, _) in want.items()}
        if split == "train":
            assert scores == {pair: grade for pair, (_, grade) in want.items()}


def test_a_run_trains_on_the_lists_as_they_are(finished, lists, tmp_path, ray_session):
    folder = export(finished, tmp_path / "given", "tevatron")
    places = [f"dataset.path={folder}/train.jsonl", f"dataset.test={folder}/dev.jsonl", f"storage_path={tmp_path}"]
    cheap = ["train.epochs=1", "search.k=20", "select.dev_share=0.2"]
    run = open_run(Flow(load(ROOT / "configs" / "lists.yaml", [*places, *cheap])).report)
    groups = {row["query_id"]: row for row in run.artifact("select").table("groups").to_pylist()}
    want = {row["query_id"]: row for row in of(lists, "train")}
    leaked = run.lineage["mine"]["counts"]["quarantined"]
    assert len(groups) == len(want) - leaked > 100
    for query_id, row in groups.items():
        for values in ("grades", "positives"):
            pairs = (dict(zip(each["doc_ids"], each[values], strict=True)) for each in (row, want[query_id]))
            assert next(pairs) == next(pairs)
    assert run.metrics["systems"]["tuned"]["nDCG@10"] > 0.3
    assert run.lineage["queries"]["counts"]["test_queries"] == len(of(lists, "dev"))
    assert "lists" in run.report.read_text()


def test_a_list_that_a_format_has_no_place_for_is_counted(tmp_path, monkeypatch, capsys):
    row = {"query_id": "q", "query": "x", "split": "train", "grades": [0.5, 0.25], "doc_ids": ["a", "b"]}
    docs = [{"doc_id": name, "title": None, "text": f"text {name}"} for name in "ab"]
    block = [row | {"docs": docs, "positives": flags} for flags in ([True, False], [False, False], [True, True])]

    def _blocks(source, work):
        work.mkdir()
        yield block

    monkeypatch.setattr(export_lists, "_blocks", _blocks)
    export_lists.write_json_lines(None, tmp_path / "tevatron", "tevatron")
    assert "1 lists for training, 0 held out, 2 left out: the format needs a positive" in capsys.readouterr().err
    (line,) = map(json.loads, (tmp_path / "tevatron" / "train.jsonl").read_text().splitlines())
    assert line["negative_passages"] == [{"docid": "b", "title": "", "text": "text b", "score": 0.25}]
    assert [path.name for path in (tmp_path / "tevatron").iterdir()] == ["train.jsonl"]


def test_a_package_that_is_missing_is_named(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(export_lists.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"datasets is not installed; pip install 'gradret\[hf\]'"):
        export(finished, tmp_path / "given", "hf")
    assert not (tmp_path / "given").exists()


def test_the_command_offers_every_format():
    assert set(CHOICES) == set(FORMATS)
