"""Labels from a file."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.errors import ConfigError, DataError
from gradret.teachers.file import File

LABELS = [("q1", "d1", 2.0), ("q1", "d 2", 0.5), ("q2", "d1", -1.25), ("q2", "dé", 0.0)]
KEYS = ("query_id", "doc_id", "score")
LABEL = '{"query_id": %s, "doc_id": "d1", "score": %s}'
NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 1, [None, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff")]
)


def written(path, labels=LABELS):
    rows = [dict(zip(KEYS, row, strict=True)) for row in labels]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{"more": 1, **row} for row in rows]), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps({**row, "more": 1}) for row in rows), encoding="utf-8")
    else:
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in labels)]
        path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return path


@pytest.fixture
def prepared(tmp_path):
    config = Config(name="toy", dataset=Pydocs(), storage_path=str(tmp_path / "storage"))
    return lambda path: File(str(path)).prepare(config, None, None)


def scores(made, asked):
    found = File("unused").load(made).score([{"query_id": query} for query in asked], list(asked.values()))
    assert {row.dtype for row in found} == {np.dtype(np.float32)}
    return [row.tolist() for row in found]


@pytest.mark.parametrize("name", ["labels.tsv", "labels.jsonl", "labels.parquet", "labels"])
def test_scores_in_the_order_asked(prepared, tmp_path, name):
    made = prepared(written(tmp_path / name))
    found = scores(made, {"q2": ["dé", "d1", "d 2"], "q3": ["d1"], "q1": ["d1", "d 2"]})
    np.testing.assert_equal(found, [[0.0, -1.25, np.nan], [np.nan], [2.0, 0.5]])
    assert made["file"].counts == {"rows_out": 4}


def test_trec_qrels(prepared, tmp_path):
    path = tmp_path / "qrels.txt"
    path.write_bytes(b"\xef\xbb\xbfq1 0 d1 3\r\nq1\tQ0\td2\t0.25\nq2  0  d1  -1\n")
    np.testing.assert_equal(scores(prepared(path), {"q1": ["d1", "d2"], "q2": ["d1"]}), [[3.0, 0.25], [-1.0]])


def test_whole_numbers_are_ids_too(prepared, tmp_path):
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"query_id": [7, 8], "doc_id": [70, 80], "score": [1, 2]}), path)
    np.testing.assert_equal(scores(prepared(path), {"8": ["80"], "7": ["70", "80"]}), [[2.0], [1.0, np.nan]])
    path = tmp_path / "labels.jsonl"
    path.write_text('{"query_id": 7, "doc_id": 70, "score": 1}\n')
    np.testing.assert_equal(scores(prepared(path), {"7": ["70"]}), [[1.0]])


@pytest.mark.parametrize(("again", "told"), [(2.0, "with 2 and 2"), (0.5, "with 2 and 0.5")])
@pytest.mark.parametrize(
    ("name", "places"), [("a.tsv", "lines 2 and 6"), ("a.jsonl", "lines 1 and 5"), ("a.parquet", "rows 1 and 5")]
)
def test_a_pair_that_is_labelled_twice(prepared, tmp_path, name, places, again, told):
    path = written(tmp_path / name, [*LABELS, ("q1", "d1", again), ("q2", "d1", 0), ("q1", "d1", 9.0)])
    with pytest.raises(DataError, match=rf"{name}: {places} both label query 'q1', document 'd1', {told}.*2 pairs"):
        prepared(path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\thigh\n", r"a\.tsv:3: expected .*'q1\\td2\\thigh'"),
        ("a.tsv", "q1\td1\t1\nq1\td2\n", r"a\.tsv:2: "),
        ("a.txt", "q1 0 d1 1\n\nq1 0 d1\n", r"a\.txt:3: "),
        ("a.txt", b"q1 0 d1 1\nq1 0 \xff 1\n", r"a\.txt:2: not UTF-8"),
        ("a.tsv", "query-id\tcorpus-id\tscore\n", "no labels in the file"),
        ("a.jsonl", '{"query_id": "q1", "doc_id": "d1", "score": 1}\n{"query_id": "q1"}\n', r"a\.jsonl:2: expected"),
        ("a.jsonl", '{"query_id": "q1", "doc_id": "d1", "score": "1"}\n', r"a\.jsonl:1: expected"),
        ("a.jsonl", '{"query_id": "q1", "doc_id": "d1", "score": true}\n', r"a\.jsonl:1: expected"),
        ("a.jsonl", "[1, 2, 3]\n", r"a\.jsonl:1: expected"),
        ("a.jsonl", "query\n", r"a\.jsonl:1: expected"),
        ("a.jsonl", "[" * 100_000, r"a\.jsonl:1: expected"),
        ("a.jsonl", LABEL % ('"q1"', "9" * 400), r"a\.jsonl:1: the score is inf, expected a finite 32-bit number"),
        ("a.jsonl", LABEL % ('"q1"', "-" + "9" * 400), r"a\.jsonl:1: the score is -inf"),
        ("a.jsonl", LABEL % ('"q1"', "9" * 5000), r"a\.jsonl:1: expected"),
        ("a.jsonl", LABEL % ('"q1"', "NaN"), r"a\.jsonl:1: the score is nan"),
        ("a.jsonl", LABEL % (r'"\ud800"', "1"), r"a\.jsonl:1: query_id with a line break or another control"),
        ("a.jsonl", LABEL % (r'"a\u0000b"', "1"), r"a\.jsonl:1: query_id with a line break or another control"),
        ("a.jsonl", LABEL % ('""', "1"), r"a\.jsonl:1: no query_id"),
        ("a.tsv", "q1\td1\t" + "9" * 400, r"a\.tsv:1: expected"),
        ("a.tsv", "q1\td1\t1e39", r"a\.tsv:1: the score is 1e\+39, expected a finite 32-bit number"),
        ("a.tsv", "q1\x01\td1\t1", r"a\.tsv:1: query_id with a line break or another control"),
        ("a.parquet", "no Parquet", r"cannot read .*a\.parquet as Parquet"),
    ],
)
def test_what_cannot_be_read_is_named(prepared, tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=told):
        prepared(path)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"query_id": ["q1"], "doc_id": ["d1"]}, "no column score"),
        ({"query_id": ["q1", "q1"], "doc_id": ["d1", None], "score": [1.0, 2.0]}, "doc_id is null in row 2"),
        ({"query_id": ["q1"], "doc_id": ["d1"], "score": ["high"]}, "column score holds string, expected numbers"),
        ({"query_id": [1.0], "doc_id": ["d1"], "score": [1]}, "query_id holds double, expected strings or integers"),
        ({"query_id": [True], "doc_id": ["d1"], "score": [1]}, "query_id holds bool"),
        ({"query_id": ["q1"], "doc_id": [""], "score": [1.0]}, "row 1: no doc_id"),
        ({"query_id": ["q1"], "doc_id": ["d1"], "score": [float("nan")]}, "row 1: the score is nan"),
        ({"query_id": NOT_UTF8, "doc_id": ["d1"], "score": [1.0]}, "cannot read .* as Parquet.*Invalid UTF8"),
    ],
)
def test_parquet_with_other_columns(prepared, tmp_path, columns, told):
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    with pytest.raises(DataError, match=told):
        prepared(tmp_path / "labels.parquet")


def test_parquet_with_two_columns_of_one_name(prepared, tmp_path):
    pq.write_table(pa.table([["q1"], ["d1"], [1.0], [2.0]], [*KEYS, "score"]), tmp_path / "labels.parquet")
    with pytest.raises(DataError, match="2 column score; expected one"):
        prepared(tmp_path / "labels.parquet")


def test_a_file_that_is_not_there(prepared, tmp_path):
    with pytest.raises(ConfigError, match=r"label\.teacher\.path: cannot read .*none\.tsv: No such file"):
        prepared(tmp_path / "none.tsv")


def test_content_names_the_labels_and_the_path_does_not(prepared, tmp_path):
    first = prepared(written(tmp_path / "a.tsv"))["file"].fingerprint
    assert prepared(written(tmp_path / "b.tsv"))["file"].fingerprint == first
    assert prepared(written(tmp_path / "a.tsv", LABELS[:3]))["file"].fingerprint != first
