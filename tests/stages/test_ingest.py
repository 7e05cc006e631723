"""From a BEIR folder to DOCS, and errors for invalid folders."""

import dataclasses
import json
import os

import pytest

from gradret.cli import main
from gradret.datasets import _lines as module
from gradret.errors import DataError
from gradret.stages.ingest import ingest
from gradret.store.artifacts import read_shard

pytestmark = pytest.mark.usefixtures("ray_session")


def good(count):
    return "".join(json.dumps({"_id": f"d{n}", "text": f"text {n}"}) + "\n" for n in range(count)).encode()


def refused(config):
    with pytest.raises(DataError) as caught:
        ingest(config)
    return str(caught.value)


def test_documents_and_counts(beir, config):
    made = ingest(
        config(beir(docs=good(20) + b'{"_id": "d20", "text": "' + b"word " * 6 + b'"}\n'), ingest={"max_words": 5})
    )
    rows = made.table("docs").to_pylist()
    assert [row["doc_id"] for row in rows] == sorted(f"d{n}" for n in range(21))
    assert rows[0] == {"doc_id": "d0", "title": "", "text": "text 0", "origin": "corpus"}
    assert made.counts == {"rows_in": 21, "rows_out": 21, "quarantined": 0, "over_long": 1}


def test_bad_rows_are_quarantined_with_place_and_reason(beir, config):
    bad = [b"{broken", b'{"text": "no id"}', b'{"_id": "e", "text": ""}', '{"_id": "x", "text": "é"}'.encode("latin-1")]
    folder = beir(docs=good(50) + b"\n".join(bad) + b"\n")
    made = ingest(config(folder))
    assert made.counts == {"rows_in": 54, "rows_out": 50, "quarantined": 4, "over_long": 0}
    rows = made.table("quarantine").to_pylist()
    assert [(row["where"], row["reason"]) for row in rows] == [
        (f"{folder / 'corpus.jsonl'}:51", "invalid JSON"),
        (f"{folder / 'corpus.jsonl'}:52", "no _id"),
        (f"{folder / 'corpus.jsonl'}:53", "empty title and text"),
        (f"{folder / 'corpus.jsonl'}:54", "not UTF-8"),
    ]
    assert made.manifest["quarantined"] == {row["reason"]: 1 for row in rows}
    assert "{broken" in rows[0]["raw"]


def test_pieces_of_a_file_make_the_same_documents(beir, config, monkeypatch, tmp_path):
    folder = beir(docs=good(60) + b"{broken\n")
    whole = ingest(config(folder, tmp_path / "whole"))
    monkeypatch.setattr(module, "_PART_BYTES", 500)
    pieces = ingest(config(folder, tmp_path / "pieces"))
    assert len(pieces.shards("docs")) > 2
    assert pieces.table("docs") == whole.table("docs")
    assert pieces.table("quarantine") == whole.table("quarantine")


def test_a_duplicate_id_names_both_places(beir, config, monkeypatch):
    monkeypatch.setattr(module, "_PART_BYTES", 100)
    folder = beir(docs=good(10) + b'{"_id": "d3", "text": "again"}\n')
    path = folder / "corpus.jsonl"
    assert refused(config(folder)) == f"doc_id 'd3' occurs 2 times: {path}:4, {path}:11; ids must be unique"


def test_a_number_and_its_digits_are_one_id(beir, config):
    assert "doc_id '7' occurs 2 times" in refused(
        config(beir(docs=[{"_id": 7, "text": "x"}, {"_id": "7", "text": "y"}]))
    )


def test_too_many_bad_rows_stop_with_the_first(beir, config):
    folder = beir(docs=good(8) + b"{broken\n{broken\n")
    said = refused(config(folder))
    assert said.startswith("docs: 2 of 10 rows cannot be used, more than ingest.max_bad_share=0.1; the first: ")
    assert f"{folder / 'corpus.jsonl'}:9: invalid JSON" in said
    assert ingest(config(folder, ingest={"max_bad_share": 0.2})).counts["quarantined"] == 2


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_a_corpus_without_documents(beir, config, data):
    folder = beir(docs=data)
    assert refused(config(folder)) == f"{folder / 'corpus.jsonl'}: contains no documents"


def test_neither_place_nor_split_nor_language_nor_queries_make_another_artifact(beir, config):
    folder, copy = beir(), beir(name="copy", queries=[{"_id": "z", "text": "other"}], qrels={"dev": b"", "test": b"x"})
    first = ingest(config(folder))
    assert ingest(config(copy, dataset={"split": "dev", "language": "none"})).path == first.path
    assert ingest(config(folder, ingest={"max_words": 9})).path != first.path
    assert ingest(dataclasses.replace(config(folder), seed=5, name="other")).path == first.path


def test_another_text_makes_another_artifact(beir, config):
    folder = beir()
    first = ingest(config(folder))
    beir(docs=[{"_id": "d1", "text": "changed"}])
    assert ingest(config(folder)).path != first.path


def test_the_command_says_it_in_one_line(beir, tmp_path, capfd):
    yaml = tmp_path / "c.yaml"
    for docs, problem in [
        (good(3) + b"{broken\n", "corpus.jsonl:4: invalid JSON"),
        (good(3) + good(1), "doc_id 'd0' occurs 2 times"),
        (b"\xff\xfe\x00", "corpus.jsonl:1: not UTF-8"),
        (None, "corpus.jsonl: no such file"),
    ]:
        folder = beir(docs=docs)
        if docs is None:
            (folder / "corpus.jsonl").unlink()
        yaml.write_text(f"name: toy\nstorage_path: {tmp_path / 'storage'}\ndataset: {{name: beir, path: {folder}}}\n")
        assert main(["ingest", str(yaml)]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert problem in err.splitlines()[-1]
        assert err.splitlines()[-1].startswith("gradret: ")
        assert "Traceback" not in err


def test_the_command_prints_where_the_documents_are(beir, tmp_path, capfd):
    (tmp_path / "c.yaml").write_text(f"name: toy\ndataset: {{name: beir, path: {beir()}}}\n")
    assert main(["ingest", str(tmp_path / "c.yaml"), "--json", f"storage_path={tmp_path / 'storage'}"]) == 0
    (path,) = (tmp_path / "storage" / "artifacts" / "ingest").glob("*/manifest.json")
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["artifacts"] == {"ingest": str(path.parent)}
    assert read_shard(path.parent / "docs" / "part-00000.parquet", "docs").num_rows == 3


def test_a_full_disk_is_said_and_with_space_it_goes_on(tiny, beir, tmp_path, capfd):
    folder, grow = tiny
    docs = [{"_id": f"d{number}", "text": os.urandom(500).hex()} for number in range(400)]
    yaml = tmp_path / "c.yaml"
    yaml.write_text(f"name: toy\nstorage_path: {folder}\ndataset: {{name: beir, path: {beir(docs=docs)}}}\n")
    assert main(["ingest", str(yaml)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("gradret: ingest: no space left in ")
    grow()
    assert main(["ingest", str(yaml)]) == 0
    assert "400 rows in, 400 rows out" in capfd.readouterr().err
