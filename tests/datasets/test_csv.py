"""CSV files against the csv module that wrote them, in parts of any size, and columns with usual names."""

import csv
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradret.datasets import Bad, _tables
from gradret.datasets._rows import Columns
from gradret.datasets.files import Files
from gradret.errors import DataError


def text(rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()


@pytest.fixture
def docs(tmp_path):
    """Writes a file of documents and makes the dataset that reads it."""

    def make(data, name="c.csv", **columns):
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return Files(docs=name, path=str(tmp_path), columns=Columns(**columns))

    return make


def read(dataset):
    return [row for part in dataset.parts("docs") for row in dataset.read("docs", part)]


def test_quotes_commas_and_line_ends_in_any_parts(docs, monkeypatch):
    monkeypatch.setattr(_tables, "_PART_BYTES", 200)
    draw = random.Random(0)
    rows = [
        {
            "doc_id": f"d{n}",
            "title": draw.choice(["", 'a "title", here']),
            "text": f'x,{n}\n"y"\r\n\u65e5' * draw.randint(1, 4),
        }
        for n in range(50)
    ]
    dataset = docs(text([("id", "title", "body"), *(row.values() for row in rows)]))
    assert len(dataset.parts("docs")) > 5
    found = read(dataset)
    assert [row for _, row in found] == rows
    places = [number for number, _ in found]
    assert places[0] == 2
    assert places[1] == 2 + 1 + rows[0]["text"].count("\n")


def test_a_long_value_is_read(docs):
    ((_, row),) = read(docs(text([("id", "text"), ("1", "word " * 100_000)])))
    assert len(row["text"]) == 500_000


def test_bad_records_are_quarantined_with_their_line(docs):
    data = b'\xef\xbb\xbfid,text\n1,one\n2\n3,caf\xe9\n4,"x"y\n\n5,five\n'
    rows = [(line, row.reason if isinstance(row, Bad) else row["doc_id"]) for line, row in read(docs(data))]
    assert rows == [
        (2, "1"),
        (3, "expected the 2 columns of the header"),
        (4, "not UTF-8"),
        (5, "invalid CSV"),
        (7, "5"),
    ]


def test_queries_and_judgments(tmp_path):
    (tmp_path / "c.csv").write_text("id,text\n1,one\n")
    (tmp_path / "q.csv").write_text('qid,query\n7,"lift, of a wing"\n')
    (tmp_path / "t.csv").write_text("query_id,doc_id,relevance\n7,1,2\n")
    dataset = Files(docs="c.csv", queries="q.csv", test="t.csv", path=str(tmp_path))
    tables = [
        [row for part in dataset.parts(name) for _, row in dataset.read(name, part)] for name in ("queries", "qrels")
    ]
    assert tables == [
        [{"query_id": "7", "text": "lift, of a wing"}],
        [{"query_id": "7", "doc_id": "1", "relevance": 2, "split": "test"}],
    ]


def test_a_missing_column_names_those_there_are(docs):
    with pytest.raises(DataError, match=r"c\.csv: no column '_id'; it has number, text\. Set .* dataset\.columns"):
        docs("number,text\n1,x\n").parts("docs")
    with pytest.raises(DataError, match=r"no column '_id'; it has "):
        docs("").parts("docs")


NAMES = [
    (("_id", "title", "text"), {}),
    (("id", "Title", "body"), {}),
    (("docId", "heading", "contents"), {}),
    (("pid", "headline", "passage", "text"), {"text": "passage"}),
    (("my key", "my title", "my text"), {"doc_id": "my key", "title": "my title", "text": "my text"}),
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(("names", "columns"), NAMES)
def test_usual_names_need_not_be_given(docs, tmp_path, kind, names, columns):
    values = ("1", "Wings", "A wing gains lift.", "no")[: len(names)]
    record = dict(zip(names, values, strict=True))
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([record]), tmp_path / "made")
        data = (tmp_path / "made").read_bytes()
    else:
        data = text([names, values]) if kind == "csv" else json.dumps(record)
    ((_, row),) = read(docs(data, f"c.{kind}", **columns))
    assert row == {"doc_id": "1", "title": "Wings", "text": "A wing gains lift."}
