"""Laws for every dataset.

For a class of another package: GRADRET_DATASETS="{name: package.module:Class, path: DIR}" pytest
tests/conformance/test_datasets.py
"""

import functools
import json
import pickle
import re
import shutil

import pytest

from gradret import components
from gradret.config.loading import parse
from gradret.datasets import Bad, check_language, read_settings
from gradret.datasets.lists import Lists
from gradret.store.fingerprint import canonical

from ..datasets.conftest import home  # noqa: F401 - ir_datasets' folder
from .made import outside, placed, used

TABLES = {
    "docs": {"doc_id": str, "title": str, "text": str},
    "queries": {"query_id": str, "text": str},
    "qrels": {"query_id": str, "doc_id": str, "relevance": int, "split": str},
}
KEYS = {"docs": "doc_id", "queries": "query_id"}
BEIR = {
    "corpus.jsonl": [{"_id": f"d{n}", "title": "" if n % 2 else f"title {n}", "text": f"text {n}"} for n in range(30)],
    "queries.jsonl": [{"_id": f"q{n}", "text": f"query {n}"} for n in range(6)],
    "qrels/test.tsv": ["q1\td1\t1", "q1\td2\t2", "q2\td3\t0"],
    "qrels/train.tsv": ["q3\td4\t1"],
}
NODES = {
    "beir": lambda folder: {"path": str(folder / "scifact")},
    "beir_archive": lambda folder: {"archive": "scifact", "path": str(folder)},
    "files": lambda folder: {
        "path": str(folder / "scifact"),
        "docs": "corpus.jsonl",
        "queries": "queries.jsonl",
        "test": "qrels/test.tsv",
        "train": "qrels/train.tsv",
    },
    "folder": lambda folder: {"path": str(folder / "pages")},
    "hf": lambda folder: {"path": str(folder / "saved")},
    "irds": lambda folder: {"test": "beir/scifact/test", "train": "beir/scifact/train"},
    "lists": lambda folder: {"path": str(folder / "scifact" / "lists.jsonl"), "test_share": 0.5},
    "pydocs": lambda folder: {},
}
OUTSIDE = {node["name"]: node for node in outside("datasets")}
MOVES = ("beir", "beir_archive", "files", "folder", "hf", "lists")
BROKEN = 2


def write(folder):
    """A BEIR folder with broken lines among its documents, and whole rows as ``save_to_disk`` keeps them."""
    import datasets

    (folder / "scifact" / "qrels").mkdir(parents=True)
    for name, rows in BEIR.items():
        lines = [json.dumps(row) if isinstance(row, dict) else row for row in rows]
        head = ["query-id\tcorpus-id\tscore"] if name.endswith("tsv") else []
        broken = ["{", '{"_id": "broken"}'] if name == "corpus.jsonl" else []
        (folder / "scifact" / name).write_text("".join(f"{line}\n" for line in [*head, *broken, *lines]))
    shutil.copytree(folder / "scifact", folder / "pages")
    lists = [{"query": f"query {n}", "pos": [f"text {n}"], "neg": [f"text {n + 1}"]} for n in range(30)]
    lines = [json.dumps(row) for row in [*lists, {"query": "broken"}]]
    (folder / "scifact" / "lists.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for row in BEIR["corpus.jsonl"]:
        (folder / "pages" / row["_id"]).with_suffix(".txt").write_text(row["text"])
    lines = (folder / "pages" / "qrels" / "test.tsv").read_text().replace("\t1\n", ".txt\t1\n")
    (folder / "pages" / "qrels" / "test.tsv").write_text(lines)
    for name, rows in (("corpus", BEIR["corpus.jsonl"]), ("queries", BEIR["queries.jsonl"])):
        datasets.Dataset.from_list(rows).save_to_disk(folder / "saved" / name)
    judged = [line.split("\t") for line in BEIR["qrels/test.tsv"]]
    rows = [{"query-id": query, "corpus-id": doc, "score": int(grade)} for query, doc, grade in judged]
    datasets.DatasetDict(test=datasets.Dataset.from_list(rows)).save_to_disk(folder / "saved" / "default")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, home):  # noqa: F811
    return write(tmp_path_factory.mktemp("datasets"))


def of(name, folder):
    node = OUTSIDE.get(name) or {"name": name} | NODES[name](folder)
    return used(parse(placed("datasets", node)), components.find("datasets", name))


@pytest.fixture(params=[*NODES, *OUTSIDE])
def dataset(request, folder):
    return of(request.param, folder)


@pytest.fixture(params=TABLES)
def table(request):
    return request.param


@functools.cache
def read(dataset, table):
    """A list a part: its rows with their numbers."""
    return [list(dataset.read(table, part)) for part in dataset.parts(table)]


def good(dataset, table):
    return [row for part in read(dataset, table) for _, row in part if not isinstance(row, Bad)]


def test_every_dataset_is_here():
    assert set(NODES) == set(components.names("datasets"))


def test_what_it_declares(dataset):
    assert isinstance(dataset.split, str)
    assert dataset.split
    assert isinstance(dataset.exclude_same_ids, bool)
    check_language(dataset.language)
    canonical(read_settings(dataset))


def test_rows_hold_what_the_table_asks_for(dataset, table):
    rows = good(dataset, table)
    assert rows
    for row in rows:
        assert {name: type(value) for name, value in row.items()} == TABLES[table]
        ids = [value for name, value in row.items() if name.endswith("_id")]
        assert all(ids)
        assert not any(re.search("[\x00-\x1f\x7f\x85\u2028\u2029]", each) for each in ids)
    if table == "docs":
        assert all(row["title"].strip() or row["text"].strip() for row in rows)


def test_an_id_names_one_row(dataset):
    for table, key in KEYS.items():
        ids = [row[key] for row in good(dataset, table)]
        assert len(set(ids)) == len(ids)


def test_a_broken_row_says_why(dataset, table):
    broken = [row for part in read(dataset, table) for _, row in part if isinstance(row, Bad)]
    assert all(row.reason and isinstance(row.raw, str) for row in broken)


@pytest.mark.parametrize("name", ["beir", "beir_archive", "files"])
def test_no_line_is_lost(folder, name):
    """Those of files whose lines are known."""
    dataset = of(name, folder)
    rows = [row for part in read(dataset, "docs") for _, row in part]
    assert len(rows) == len(BEIR["corpus.jsonl"]) + BROKEN
    assert sum(isinstance(row, Bad) for row in rows) == BROKEN
    assert [row["doc_id"] for row in good(dataset, "docs")] == [row["_id"] for row in BEIR["corpus.jsonl"]]
    assert len(good(dataset, "qrels")) == 4


def test_read_again_elsewhere_and_in_any_order(dataset, table):
    parts = dataset.parts(table)
    sent, pieces = pickle.loads(pickle.dumps((dataset, parts)))
    assert parts == pieces == dataset.parts(table)
    backwards = [list(sent.read(table, part)) for part in reversed(pieces)]
    assert backwards[::-1] == read(dataset, table)


def test_numbers_say_where_a_row_stood(dataset, table):
    places = []
    for part, rows in zip(dataset.parts(table), read(dataset, table), strict=True):
        numbers = [number for number, _ in rows]
        assert numbers == sorted(numbers)
        places += [(part.path, number) for number in numbers]
    if not isinstance(dataset, Lists):  # a list has many rows
        assert len(set(places)) == len(places)


def test_judgments_are_of_its_queries_and_documents(dataset):
    """Some may name what is not there, but not all: these would be another collection's."""
    judged = good(dataset, "qrels")
    assert {row["split"] for row in judged} <= {dataset.split, "train", "dev"}
    doc_ids = {row["doc_id"] for row in good(dataset, "docs")}
    query_ids = {row["query_id"] for row in good(dataset, "queries")}
    own = [row for row in judged if row["split"] == dataset.split]
    assert any(row["query_id"] in query_ids and row["doc_id"] in doc_ids and row["relevance"] > 0 for row in own)
    pairs = [(row["query_id"], row["doc_id"], row["split"]) for row in judged]
    assert len(set(pairs)) == len(pairs)


def test_content_is_a_hash_of_what_is_read(dataset, table):
    content = dataset.content(table)
    assert isinstance(content, str)
    assert len(content) >= 16
    assert pickle.loads(pickle.dumps(dataset)).content(table) == content


@pytest.mark.parametrize("name", MOVES)
def test_a_moved_one_is_the_same_and_a_changed_one_is_not(folder, tmp_path, name, table):
    before = of(name, folder)
    moved = of(name, shutil.copytree(folder, tmp_path / "moved"))
    assert moved.content(table) == before.content(table)
    assert canonical(read_settings(moved)) == canonical(read_settings(before))
    if name != "hf":
        for path in (tmp_path / "moved" / ("pages" if name == "folder" else "scifact")).rglob("*.*"):
            path.write_text(path.read_text().replace("1", "9"))
        assert moved.content(table) != before.content(table)
