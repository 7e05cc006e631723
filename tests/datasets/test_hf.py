"""Hugging Face datasets in folders, compared with ``datasets``."""

import datasets
import pytest

from gradret.datasets import Bad, _tables, read_settings
from gradret.datasets._rows import Columns
from gradret.datasets.hf import HF
from gradret.errors import ConfigError, DataError

DOCS = [{"_id": f"d{n}", "title": "T" * (n % 3), "text": f"text {n}", "metadata": {"n": n}} for n in range(50)]
QUERIES = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(5)]
JUDGED = {
    "test": [{"query-id": "q1", "corpus-id": "d1", "score": 2}],
    "train": [{"query-id": "q2", "corpus-id": "d2", "score": 1}],
    "other": [{"query-id": "q3", "corpus-id": "d3", "score": 1}],
}


@pytest.fixture
def saved(tmp_path):
    """A folder with a configuration each, as ``save_to_disk`` writes them."""

    def write(docs=DOCS, queries=QUERIES, judged=JUDGED):
        datasets.DatasetDict(corpus=datasets.Dataset.from_list(docs)).save_to_disk(tmp_path / "corpus")
        datasets.Dataset.from_list(queries).save_to_disk(tmp_path / "queries")
        splits = {split: datasets.Dataset.from_list(rows) for split, rows in judged.items()}
        datasets.DatasetDict(splits).save_to_disk(tmp_path / "default")
        return HF(path=str(tmp_path))

    return write


def placed(dataset, table):
    return [(n, row) for part in dataset.parts(table) for n, row in dataset.read(table, part)]


def rows(dataset, table):
    return [row for _, row in placed(dataset, table)]


def test_rows_of_all_tables(saved):
    dataset = saved()
    assert rows(dataset, "docs") == [{"doc_id": d["_id"], "title": d["title"], "text": d["text"]} for d in DOCS]
    assert rows(dataset, "queries") == [{"query_id": q["_id"], "text": q["text"]} for q in QUERIES]
    assert rows(dataset, "qrels") == [
        {"query_id": "q1", "doc_id": "d1", "relevance": 2, "split": "test"},
        {"query_id": "q2", "doc_id": "d2", "relevance": 1, "split": "train"},
    ]


@pytest.mark.parametrize("size", [1, 300, 1000])
def test_pieces_of_any_size_read_the_same(saved, tmp_path, monkeypatch, size):
    dataset = saved()
    whole = placed(dataset, "docs")
    loaded = datasets.load_from_disk(tmp_path / "corpus")["corpus"]
    assert [(n, row["doc_id"], row["text"]) for n, row in whole] == [
        (n, row["_id"], row["text"]) for n, row in enumerate(loaded, 1)
    ]
    monkeypatch.setattr(_tables, "_PART_BYTES", size)
    assert len(dataset.parts("docs")) > 1
    assert placed(dataset, "docs") == whole


def test_several_shards(saved, tmp_path):
    dataset = saved()
    whole = rows(dataset, "docs")
    datasets.Dataset.from_list(DOCS).save_to_disk(tmp_path / "sharded" / "corpus", num_shards=3)
    sharded = HF(path=str(tmp_path / "sharded"))
    assert len({part.path for part in sharded.parts("docs")}) == 3
    assert rows(sharded, "docs") == whole


def test_columns_of_any_name_and_judgments_elsewhere(saved, tmp_path):
    folder = tmp_path / "mine"
    datasets.Dataset.from_list([{"docid": 1, "contents": "x"}]).save_to_disk(folder / "passages")
    datasets.Dataset.from_list([{"q": 1, "d": 1, "label": 1.0}]).save_to_disk(tmp_path / "judged" / "all")
    columns = Columns(doc_id="docid", text="contents", judged_query_id="q", judged_doc_id="d", relevance="label")
    options = {"docs": "passages", "qrels": "all", "qrels_path": str(tmp_path / "judged"), "columns": columns}
    dataset = HF(path=str(folder), split="dev", **options)
    assert rows(dataset, "docs") == [{"doc_id": "1", "title": "", "text": "x"}]
    assert rows(dataset, "qrels") == [{"query_id": "1", "doc_id": "1", "relevance": 1, "split": "dev"}]
    assert read_settings(dataset) == {"class": HF, "columns": columns}


def test_a_folder_in_the_layout_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "repository"
    folder.mkdir()
    tables = {"corpus": DOCS, "queries": QUERIES, "test": JUDGED["test"], "train": JUDGED["train"]}
    for name, records in tables.items():
        datasets.Dataset.from_list(records).to_parquet(folder / f"{name}.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- {config_name: corpus, data_files: [{split: corpus, path: corpus.parquet}]}\n"
        "- {config_name: queries, data_files: [{split: queries, path: queries.parquet}]}\n"
        "- {config_name: default, data_files: [{split: train, path: train.parquet}, {split: test, path: test.parquet}]}"
        "\n---\n"
    )
    dataset = HF(path=str(folder))
    assert [row["doc_id"] for row in rows(dataset, "docs")] == [d["_id"] for d in DOCS]
    assert [row["query_id"] for row in rows(dataset, "queries")] == [q["_id"] for q in QUERIES]
    assert [row["split"] for row in rows(dataset, "qrels")] == ["test", "train"]
    with pytest.raises(DataError, match=r"dataset\.path: cannot load .* \(configuration passages\)"):
        HF(path=str(folder), docs="passages").content("docs")


@pytest.mark.parametrize(
    ("name", "data"),
    [("train.parquet", b"PAR1 not a table PAR1"), ("train.jsonl", b'{"_id": "1"}\n{broken')],
)
def test_a_repository_that_is_damaged(tmp_path, monkeypatch, name, data):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / name).write_bytes(data)
    with pytest.raises(DataError, match=r"dataset\.path: cannot load .* \(configuration default\)"):
        HF(path=str(tmp_path / "repository")).content("qrels")


def test_bad_rows(saved):
    docs = [{"_id": "a", "title": None, "text": "x"}, {"_id": None, "title": "", "text": "x"}, {"_id": "c", "text": ""}]
    first, *bad = rows(saved(docs=docs), "docs")
    assert first == {"doc_id": "a", "title": "", "text": "x"}
    assert [type(row) for row in bad] == [Bad, Bad]
    assert [row.reason for row in bad] == ["no _id", "empty title and text"]


def test_content_follows_the_rows_and_the_split(saved):
    dataset = saved()
    before = {table: dataset.content(table) for table in ("docs", "queries", "qrels")}
    assert {table: saved().content(table) for table in before} == before
    changed = saved(docs=DOCS[:-1])
    assert [table for table in before if changed.content(table) != before[table]] == ["docs"]
    renamed = {"test": JUDGED["test"], "dev": JUDGED["train"]}
    assert saved(judged=renamed).content("qrels") != before["qrels"]


def test_a_split_that_has_no_judgments(saved):
    dataset = saved()
    with pytest.raises(DataError, match=r"dataset\.split: .* has judgments for test, train, other, not for 'dev'"):
        HF(path=dataset.path, split="dev").parts("qrels")


def test_a_missing_column(saved):
    dataset = saved(queries=[{"key": "1", "text": "x"}])
    with pytest.raises(DataError, match=r"no column '_id'; it has key, text\. Set their names in dataset\.columns"):
        dataset.parts("queries")


def test_without_a_network(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    with pytest.raises(DataError) as caught:
        HF(path="nobody/nothing").content("docs")
    said = str(caught.value)
    assert said.startswith("dataset.path: cannot load nobody/nothing (configuration corpus): ")
    assert said.endswith("save it elsewhere with save_to_disk('DIR/corpus') and set dataset.path=DIR")


def test_without_the_package(saved, monkeypatch):
    dataset = saved()
    monkeypatch.setattr("gradret.datasets.hf.importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"dataset hf: the package datasets is not installed; pip install 'gradret\[hf\]'"
    ):
        dataset.content("docs")


def test_what_is_checked_when_it_is_made():
    with pytest.raises(ConfigError, match="path: is required"):
        HF()
    with pytest.raises(ConfigError, match="no Snowball stemmer"):
        HF(path="x", language="klingon")
