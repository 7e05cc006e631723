"""Training lists of three libraries, read into documents, queries, judgments and scores."""

import gzip
import json
import pickle
import re

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradret.datasets import Bad
from gradret.datasets.lists import Lists
from gradret.errors import ConfigError, DataError

WING, SHELL, JET = "A wing gains lift.", "Shells buckle.", "Jets mix."
FLAG = [
    {"query": "lift", "pos": [WING], "neg": [SHELL, JET], "pos_scores": [0.9], "neg_scores": [0.2, 0.4], "prompt": "x"},
    {"query": "shell", "pos": [SHELL], "neg": [WING]},
]
TEVATRON = [
    {
        "query_id": "q1",
        "query": "lift",
        "positive_passages": [{"docid": "d1", "title": "Wings", "text": WING, "score": 0.9}],
        "negative_passages": [
            {"docid": "d2", "title": "", "text": SHELL, "score": 0.2},
            {"docid": "d3", "text": JET, "score": 0.4},
        ],
    },
    {
        "query_id": 2,
        "query": "shell",
        "positive_passages": [{"docid": "d2", "text": SHELL}],
        "negative_passages": [{"docid": "d1", "title": "Wings", "text": WING}],
    },
]
TRIPLETS = [
    {"anchor": "lift", "positive": WING, "negative": SHELL, "label": [0.9, 0.2]},
    {"anchor": "lift", "positive": WING, "negative": JET, "label": [0.9, 0.4]},
    {"anchor": "shell", "positive": SHELL, "negative": WING, "label": None},
]
TUPLES = [
    {"query": "lift", "answer": WING, "negative_1": SHELL, "negative_2": JET, "scores": [0.9, 0.2, 0.4]},
    {"query": "shell", "answer": SHELL, "negative_1": WING, "negative_2": None, "scores": None},
]
PAIRS = [
    {"sentence1": "lift", "sentence2": WING, "score": 0.9},
    {"sentence1": "lift", "sentence2": SHELL, "score": 0.2},
    {"sentence1": "lift", "sentence2": JET, "score": 0.4},
    {"sentence1": "shell", "sentence2": SHELL, "score": 1},
    {"sentence1": "shell", "sentence2": WING, "score": 0},
]
LABELLED = [
    {"query": "lift", "docs": [WING, SHELL, JET], "labels": [0.9, 0.2, 0.4]},
    {"query": "shell", "docs": [SHELL, WING], "labels": [1, 0]},
]
FORMATS = {
    "FlagEmbedding": FLAG,
    "Tevatron": TEVATRON,
    "triplets": TRIPLETS,
    "tuples": TUPLES,
    "pairs": PAIRS,
    "labelled": LABELLED,
}
NONE_HELD_OUT = 1e-9


def write(path, rows, **settings):
    """Lists in a file, all for training but one query."""
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return Lists(path=str(path), **{"test_share": NONE_HELD_OUT, **settings})


def read(dataset, table):
    return [row for part in dataset.parts(table) for _, row in dataset.read(table, part)]


def good(dataset, table):
    return [row for row in read(dataset, table) if not isinstance(row, Bad)]


def judged(dataset):
    """Relevance by the texts of query and passage."""
    docs = {row["doc_id"]: row["text"] for row in good(dataset, "docs")}
    queries = {row["query_id"]: row["text"] for row in good(dataset, "queries")}
    return {(queries[row["query_id"]], docs[row["doc_id"]]): row["relevance"] for row in good(dataset, "qrels")}


def scored(dataset):
    """Score by the texts of query and passage, of the training queries."""
    docs = {row["doc_id"]: row["text"] for row in good(dataset, "docs")}
    queries = {row["query_id"]: row["text"] for row in good(dataset, "queries")}
    return {(queries[query_id], docs[doc_id]): score for _, query_id, doc_id, score in dataset.scores()}


@pytest.fixture
def other(tmp_path):
    """Lists to evaluate on, so that none is held out."""
    path = tmp_path / "other.jsonl"
    write(path, [{"query": "other", "pos": [WING]}])
    return str(path)


@pytest.mark.parametrize("rows", FORMATS.values(), ids=FORMATS)
def test_each_format_says_the_same(tmp_path, other, rows):
    dataset = write(tmp_path / "train.jsonl", rows, test=other)
    assert judged(dataset) == {
        ("other", WING): 1, ("lift", WING): 1, ("lift", SHELL): 0, ("lift", JET): 0,
        ("shell", SHELL): 1, ("shell", WING): 0,
    }  # fmt: skip
    assert scored(dataset) == {
        ("lift", WING): 0.9, ("lift", SHELL): 0.2, ("lift", JET): 0.4, ("shell", SHELL): 1, ("shell", WING): 0,
    }  # fmt: skip


def test_the_same_rows_from_every_kind_of_file(tmp_path):
    expected = judged(write(tmp_path / "train.jsonl", TRIPLETS))
    with gzip.open(tmp_path / "train.jsonl.gz", "wt") as file:
        file.write((tmp_path / "train.jsonl").read_text())
    pq.write_table(pa.Table.from_pylist(TRIPLETS), tmp_path / "train.parquet", row_group_size=2)
    saved = datasets.Dataset.from_list(TRIPLETS)
    saved.save_to_disk(tmp_path / "saved", num_shards=2)
    datasets.DatasetDict(train=saved, dev=saved.select([0])).save_to_disk(tmp_path / "splits")
    for name in ("train.jsonl.gz", "train.parquet", "saved", "splits"):
        assert judged(Lists(path=str(tmp_path / name))) == expected, name
    splits = {"path": str(tmp_path / "splits"), "test": str(tmp_path / "splits")}
    assert [row["split"] for row in read(Lists(**splits, split="dev"), "qrels")].count("dev") == 2
    with pytest.raises(DataError, match="has no split 'test', only train, dev"):
        Lists(**splits).parts("docs")


def test_ids_are_those_given_or_follow_from_the_text(tmp_path):
    docs = {row["doc_id"]: (row["title"], row["text"]) for row in read(write(tmp_path / "t.jsonl", TEVATRON), "docs")}
    assert docs == {"d1": ("Wings", WING), "d2": ("", SHELL), "d3": ("", JET)}
    assert {row["query_id"] for row in read(write(tmp_path / "t.jsonl", TEVATRON), "queries")} == {"q1", "2"}
    one, other = (read(write(tmp_path / "f.jsonl", rows), "docs") for rows in (FLAG, FLAG[::-1]))
    assert {row["doc_id"]: row["text"] for row in one} == {row["doc_id"]: row["text"] for row in other}


def test_an_id_that_gradret_keeps_for_generated_documents_is_not_kept(tmp_path):
    passage = {"docid": "generated~q1~3", "text": WING}
    (row,) = read(write(tmp_path / "t.jsonl", [{"query": "q", "positive_passages": [passage]}]), "docs")
    (same,) = read(write(tmp_path / "f.jsonl", [{"query": "q", "pos": [WING]}]), "docs")
    assert row == same


def test_rows_of_the_same_query_are_one_list(tmp_path, other):
    """Relevant if positive in any row, and of several scores the highest."""
    rows = [
        {"query": "q", "pos": ["a", "a"], "neg": ["b"], "pos_scores": [0.5, 0.7], "neg_scores": [0.1]},
        {"query": "q", "pos": ["b"], "neg": ["c"]},
    ]
    dataset = write(tmp_path / "train.jsonl", rows, test=other)
    assert judged(dataset) == {("other", WING): 1, ("q", "a"): 1, ("q", "b"): 1, ("q", "c"): 0}
    assert scored(dataset) == {("q", "a"): 0.7, ("q", "b"): 1, ("q", "c"): 0}


BROKEN = {
    "{": "invalid JSON",
    "[1]": "not a JSON object",
    '{"text": "x"}': "not a training list",
    '{"query": "q"}': "not a training list",
    '{"pos": ["a"]}': "empty text",
    '{"query": "", "pos": ["a"], "neg": []}': "empty text",
    '{"query": 3, "pos": ["a"], "neg": []}': "the title or text is not a string",
    '{"query": "q", "pos": [], "neg": ["a"]}': "pos is empty",
    '{"query": "q", "positive_passages": null}': "positive_passages is empty",
    '{"query": "q", "pos": "a", "neg": []}': "pos is not a list",
    '{"query": "q", "pos": ["a", 3], "neg": []}': "a passage is not a text",
    '{"query": "q", "positive_passages": ["a"]}': "a passage is not an object",
    '{"query": "q", "positive_passages": [{"docid": "d8"}]}': "empty title and text",
    '{"query": "q", "pos": ["a"], "neg": ["b", "a"]}': "a passage is both positive and negative",
    '{"query": "q", "pos": ["a"], "neg": ["b"], "neg_scores": [1]}': "pos_scores and neg_scores are not one number",
    '{"query": "q", "pos": ["a"], "neg": [], "pos_scores": [NaN]}': "a score is not a finite number",
    '{"query": "q", "pos": ["a"], "neg": [], "pos_scores": ["high"]}': "a score is not a finite number",
    f'{{"query": "q", "pos": ["a"], "neg": [], "pos_scores": [{10**400}]}}': "a score is too large",
    '{"query": "q", "positive_passages": [{"text": "a", "score": 1}, {"text": "b"}]}': "a score is not a finite number",
    '{"anchor": "q", "positive": "a", "negative": "b", "label": 0.3}': "the scores are not one for each passage",
    '{"query": "q", "docs": ["a", "b"], "labels": [1]}': "the scores are not one for each passage",
    '{"query": "q", "docs": ["a", "b"]}': "a list of passages without a score for each",
    '{"query": "q", "doc_ids": ["d1"], "docs": [], "positives": [true]}': "doc_ids, docs and positives are not as many",
    '{"query_id": "q1", "query": "other", "positive_passages": [{"docid": "d9", "text": "other"}]}':
        "its query_id stands for another text in an earlier row",
    '{"query_id": "q9", "query": "x", "positive_passages": [{"docid": "d1", "text": "other"}]}':
        "its docid stands for another text in an earlier row",
}  # fmt: skip


def test_a_broken_row_is_left_out_with_its_place_and_reason(tmp_path):
    dataset = write(tmp_path / "train.jsonl", [*TEVATRON, "", *BROKEN])
    (part,) = dataset.parts("docs")
    assert part.path == str(tmp_path / "train.jsonl")
    rows = list(dataset.read("docs", part))
    bad = [(line, row) for line, row in rows if isinstance(row, Bad)]
    assert len(rows) - len(bad) == 3
    for expected, ((line, row), reason) in enumerate(zip(bad, BROKEN.values(), strict=True), 4):
        assert line == expected
        assert re.match(reason, row.reason), row
        assert row.raw
    assert judged(dataset) == judged(write(tmp_path / "whole.jsonl", TEVATRON))  # broken rows are told once


def test_a_share_of_the_queries_is_held_out(tmp_path):
    rows = [{"query": f"q{n}", "pos": [f"p{n}"], "neg": ["x"]} for n in range(400)]
    dataset = write(tmp_path / "train.jsonl", rows, test_share=0.25)
    splits = {}
    for row in read(dataset, "qrels"):
        splits.setdefault(row["query_id"], set()).add(row["split"])
    held_out = {query_id for query_id, split in splits.items() if split == {"test"}}
    trained = {query_id for query_id, split in splits.items() if split == {"train"}}
    assert held_out | trained == set(splits)
    assert 70 < len(held_out) < 130
    assert {query_id for _, query_id, _, _ in dataset.scores()} == trained
    few = write(tmp_path / "few.jsonl", rows[:5])
    assert sorted(row["split"] for row in read(few, "qrels")) == ["test"] * 2 + ["train"] * 8


def test_lists_to_evaluate_on(tmp_path):
    """Their documents are in the corpus once, and a query of both is read once."""
    write(tmp_path / "test.jsonl", [{"query": "q1", "pos": ["p1"], "neg": ["y"]}])
    rows = [{"query": f"q{n}", "pos": [f"p{n}"], "neg": ["y"]} for n in range(3)]
    dataset = write(tmp_path / "train.jsonl", rows, test=str(tmp_path / "test.jsonl"))
    assert [row["text"] for row in read(dataset, "docs")] == ["p1", "y", "p0", "p2"]
    assert [row["text"] for row in read(dataset, "queries")] == ["q1", "q0", "q2"]
    assert [row["split"] for row in read(dataset, "qrels")] == ["test"] * 2 + ["train"] * 6


def test_a_worker_in_another_folder_finds_the_lists(tmp_path, monkeypatch):
    write(tmp_path / "train.jsonl", FLAG)
    monkeypatch.chdir(tmp_path)
    dataset = Lists(path="train.jsonl")
    (part,) = dataset.parts("docs")
    assert part.path == str(tmp_path / "train.jsonl")
    monkeypatch.chdir("/")
    assert len(list(pickle.loads(pickle.dumps(dataset)).read("docs", part))) == 3


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="path: is required"):
        Lists()
    with pytest.raises(ConfigError, match="split: must not be train"):
        Lists(path="train.jsonl", split="train")
    for name in ("nothing.jsonl", "no/such"):
        with pytest.raises(DataError, match=rf"no file or folder .*{name}; expected training lists"):
            Lists(path=str(tmp_path / name)).parts("docs")
    with pytest.raises(DataError, match="is no folder of save_to_disk; name a file of training lists in it"):
        Lists(path=str(tmp_path)).parts("docs")
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="as Parquet"):
        read(Lists(path=str(tmp_path / "broken.parquet")), "docs")
