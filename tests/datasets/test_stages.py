"""Every kind of dataset through the stages that read it: the same collection becomes the same tables."""

import dataclasses
import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradret.datasets import _lines, _tables, irds
from gradret.datasets.beir_archive import BeirArchive
from gradret.datasets.files import Files
from gradret.datasets.hf import HF
from gradret.stages.ingest import ingest
from gradret.stages.queries import queries
from gradret.stages.training_queries import training_queries

from .conftest import SCIFACT
from .outside import Here

pytestmark = pytest.mark.usefixtures("ray_session")

DOCS, QUERIES = SCIFACT["corpus.jsonl"], SCIFACT["queries.jsonl"]
QRELS = {split: SCIFACT[f"qrels/{split}.tsv"] for split in ("test", "train")}


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def tsv(rows):
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def ms_marco(folder, home):
    (folder / "docs.tsv.gz").write_bytes(gzip.compress(tsv((d["_id"], "", d["title"], d["text"]) for d in DOCS)))
    (folder / "queries.tsv").write_bytes(tsv((q["_id"], q["text"]) for q in QUERIES))
    for split, rows in QRELS.items():
        (folder / f"{split}.txt").write_bytes(tsv((q, 0, d, grade) for q, d, grade in rows))
    return Files(docs="docs.tsv.gz", queries="queries.tsv", test="test.txt", train="train.txt", path=str(folder))


def json_lines(folder, home):
    for number in range(2):
        (folder / f"docs-{number}.jsonl").write_bytes(jsonl(DOCS[number * 10 : number * 10 + 10 + 5 * number]))
    (folder / "queries.jsonl").write_bytes(jsonl(QUERIES))
    for split, rows in QRELS.items():
        records = [{"query-id": q, "corpus-id": d, "score": grade} for q, d, grade in rows]
        (folder / f"{split}.jsonl").write_bytes(jsonl(records))
    names = {"queries": "queries.jsonl", "test": "test.jsonl", "train": "train.jsonl"}
    return Files(docs="docs-*.jsonl", path=str(folder), **names)


def parquet(folder, home):
    pq.write_table(pa.Table.from_pylist(DOCS).drop(["metadata"]), folder / "docs.parquet", row_group_size=4)
    pq.write_table(pa.Table.from_pylist(QUERIES).drop(["metadata"]), folder / "queries.parquet")
    for split, rows in QRELS.items():
        names = ["query-id", "corpus-id", "score"]
        table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        pq.write_table(table, folder / f"{split}.parquet")
    names = {"queries": "queries.parquet", "test": "test.parquet", "train": "train.parquet"}
    return Files(docs="docs.parquet", path=str(folder), **names)


def hugging_face(folder, home):
    datasets.Dataset.from_list(DOCS).save_to_disk(folder / "corpus")
    datasets.Dataset.from_list(QUERIES).save_to_disk(folder / "queries")
    judged = {
        split: datasets.Dataset.from_list([{"query-id": q, "corpus-id": d, "score": grade} for q, d, grade in rows])
        for split, rows in QRELS.items()
    }
    datasets.DatasetDict(judged).save_to_disk(folder / "default")
    return HF(path=str(folder))


def archive(folder, home):
    import hashlib

    data = (home / "beir" / "scifact" / "source.zip").read_bytes()
    (folder / "scifact.zip").write_bytes(data)
    return BeirArchive(archive="scifact", path=str(folder), md5=hashlib.md5(data).hexdigest())


def ir_datasets(folder, home):
    return Here(test="beir/scifact/test", train="beir/scifact/train", home=str(home))


@pytest.mark.parametrize("kind", [ms_marco, json_lines, parquet, hugging_face, archive, ir_datasets])
def test_the_same_tables(kind, tmp_path, config, home, monkeypatch):
    monkeypatch.setattr(_lines, "_PART_BYTES", 300)
    monkeypatch.setattr(_lines, "_COMPRESSED_PART_BYTES", 300)
    monkeypatch.setattr(_tables, "_PART_BYTES", 300)
    monkeypatch.setattr(irds, "_PART_DOCS", 9)
    whole = dataclasses.replace(config("unused"), dataset=kind(tmp_path, home))
    docs = ingest(whole)
    assert len(docs.shards("docs")) > 1
    assert docs.table("docs").sort_by("doc_id").to_pylist() == sorted(
        ({"doc_id": d["_id"], "title": d["title"], "text": d["text"], "origin": "corpus"} for d in DOCS),
        key=lambda row: row["doc_id"],
    )
    assert docs.counts == {"rows_in": 25, "rows_out": 25, "quarantined": 0, "over_long": 0}
    made = queries(whole, docs)
    judged = [(q, d, grade, split) for split, rows in QRELS.items() for q, d, grade in rows]
    assert [tuple(row.values()) for row in made.table("qrels").to_pylist()] == judged
    splits = {row["query_id"]: row["split"] for row in made.table("queries").to_pylist()}
    known = {"q1": "test", "q2": "test", "q3": "train"}
    # ir_datasets gives the judged queries of a split only.
    assert splits == known if kind is ir_datasets else {f"q{n}": known.get(f"q{n}") for n in range(6)}
    assert made.counts["judgments_of_unknown_docs"] == 0
    assert [row["query_id"] for row in training_queries(whole).table("queries").to_pylist()] == ["q3"]
    assert ingest(whole).path == docs.path
    assert queries(whole, docs).path == made.path
