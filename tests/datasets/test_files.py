"""Files of all kinds against the libraries that write and read them, in pieces of any size."""

import bz2
import csv
import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradret.datasets import Bad, _lines, _tables, read_settings
from gradret.datasets._rows import Columns
from gradret.datasets.files import Files
from gradret.errors import ConfigError, DataError

DOCS = [
    {"doc_id": "7", "title": "Wings", "text": 'A "wing" in a slipstream'},
    {"doc_id": "D 2", "title": "", "text": "caf\u00e9 \u65e5\u672c"},
    {"doc_id": "x-3", "title": "Only a title", "text": ""},
]
QUERIES = [{"query_id": "11", "text": "lift of a wing"}, {"query_id": "12", "text": "when does a shell buckle"}]
JUDGED = [("11", "7", 3), ("11", "x-3", 0), ("12", "D 2", -1)]
QRELS = [{"query_id": q, "doc_id": d, "relevance": grade, "split": "test"} for q, d, grade in JUDGED]
BEIR = Columns()
MINE = Columns("docid", "heading", "body", "qid", "question", "q", "d", "grade")


def tsv(rows):
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def docs_records(columns=BEIR):
    return [{columns.doc_id: d["doc_id"], columns.title: d["title"], columns.text: d["text"]} for d in DOCS]


def query_records(columns=BEIR):
    return [{columns.query_id: q["query_id"], columns.query: q["text"]} for q in QUERIES]


def judged_records(columns=BEIR):
    names = columns.judged_query_id, columns.judged_doc_id, columns.relevance
    return [dict(zip(names, row, strict=True)) for row in JUDGED]


@pytest.fixture
def files(tmp_path):
    """Writes files and makes the dataset that reads them."""

    def make(docs, queries=("q.tsv", b"1\tx\n"), test=("t.txt", b"1 0 2 1\n"), **options):
        for name, data in (docs, queries, test):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
        return Files(docs=docs[0], queries=queries[0], test=test[0], path=str(tmp_path), **options)

    return make


def placed(dataset, table):
    return [(part.path, n, row) for part in dataset.parts(table) for n, row in dataset.read(table, part)]


def rows(dataset, table):
    return [row for _, _, row in placed(dataset, table)]


def parquet(tmp_path, records, group=None):
    path = tmp_path / "written.parquet"
    pq.write_table(pa.Table.from_pylist(records), path, row_group_size=group)
    return path.read_bytes()


def test_ms_marco_passages_and_trec_judgments(files):
    docs = [(d["doc_id"], d["text"] or d["title"]) for d in DOCS]
    qrels = [(q, "Q0", d, grade) for q, d, grade in JUDGED]
    dataset = files(
        ("collection.tsv", tsv(docs)),
        ("queries.dev.tsv", tsv(q.values() for q in QUERIES)),
        ("2019qrels-pass.txt", tsv(qrels)),
    )
    assert rows(dataset, "docs") == [{"doc_id": doc_id, "title": "", "text": text} for doc_id, text in docs]
    assert rows(dataset, "queries") == QUERIES
    assert rows(dataset, "qrels") == QRELS


def test_ms_marco_documents_have_a_url_and_a_title(files):
    dataset = files(("docs.tsv", tsv((d["doc_id"], "http://x", d["title"], d["text"]) for d in DOCS)))
    assert rows(dataset, "docs") == DOCS


@pytest.mark.parametrize("suffix", ["jsonl", "json", "ndjson", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("columns", [BEIR, MINE], ids=["beir", "mine"])
def test_records_with_columns_of_any_name(files, tmp_path, suffix, columns):
    def data(records):
        if suffix == "parquet":
            return parquet(tmp_path, records)
        return gzip.compress(jsonl(records)) if suffix.endswith("gz") else jsonl(records)

    dataset = files(
        (f"c.{suffix}", data(docs_records(columns))),
        (f"q.{suffix}", data(query_records(columns))),
        (f"t.{suffix}", data(judged_records(columns))),
        columns=columns,
    )
    assert rows(dataset, "docs") == DOCS
    assert rows(dataset, "queries") == QUERIES
    assert rows(dataset, "qrels") == QRELS


def drawn(count):
    draw = random.Random(0)
    words = ["alpha", "b\u00eata", "\u65e5\u672c", "'quoted'", "x" * 40]
    return [(f"d{number}", " ".join(draw.choices(words, k=draw.randint(1, 9)))) for number in range(count)]


@pytest.mark.parametrize("suffix", ["tsv", "tsv.gz", "jsonl", "parquet"])
def test_pieces_of_any_size_read_the_same(files, tmp_path, monkeypatch, suffix):
    docs = drawn(300)
    records = [{"_id": doc_id, "text": text} for doc_id, text in docs]
    if suffix == "parquet":
        data = parquet(tmp_path, records, group=37)
    else:
        data = jsonl(records) if suffix == "jsonl" else tsv(docs)
        data = gzip.compress(data) if suffix.endswith("gz") else data
    dataset = files((f"c.{suffix}", data))
    whole = placed(dataset, "docs")
    assert whole == [
        (str(tmp_path / f"c.{suffix}"), number, {"doc_id": doc_id, "title": "", "text": text})
        for number, (doc_id, text) in enumerate(docs, 1)
    ]
    found = set()
    for size in (1, 1000, 3000, 1 << 30):
        monkeypatch.setattr(_lines, "_PART_BYTES", size)
        monkeypatch.setattr(_lines, "_COMPRESSED_PART_BYTES", size)
        monkeypatch.setattr(_tables, "_PART_BYTES", size)
        monkeypatch.setattr(_tables, "_BATCH_ROWS", min(size, 64))
        assert placed(dataset, "docs") == whole
        found.add(len(dataset.parts("docs")))
    assert len(found) == 4
    assert min(found) == 1


def test_a_piece_of_a_gzipped_file_is_larger(files):
    data = tsv((f"d{number}", "x" * 1000) for number in range(10_000))
    assert len(files(("c.tsv", data)).parts("docs")) == 3
    assert len(files(("c.tsv.gz", gzip.compress(data))).parts("docs")) == 1


def test_unquoted_tsv_is_what_csv_reads(files, tmp_path):
    data = tsv([("1", '"half a quote'), ("2", "it's 5\" long"), ("3", "a\\tb")])
    dataset = files(("c.tsv", data))
    with (tmp_path / "c.tsv").open(encoding="utf-8", newline="") as lines:
        expected = [tuple(row) for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    assert [(row["doc_id"], row["text"]) for row in rows(dataset, "docs")] == expected


@pytest.mark.parametrize("suffix", ["tsv", "jsonl"])
def test_marks_line_ends_and_blank_lines_are_no_text(files, suffix):
    lines = (
        [b"1\tone", b"", b"2\ttwo"]
        if suffix == "tsv"
        else [b'{"_id": 1, "text": "one"}', b" ", b'{"_id": 2, "text": "two"}']
    )
    dataset = files((f"c.{suffix}", b"\xef\xbb\xbf" + b"\r\n".join(lines)))
    read = [(number, row) for _, number, row in placed(dataset, "docs")]
    assert read == [(1, {"doc_id": "1", "title": "", "text": "one"}), (3, {"doc_id": "2", "title": "", "text": "two"})]


@pytest.mark.parametrize("suffix", ["tsv", "tsv.gz", "jsonl", "parquet"])
def test_empty_files_have_no_rows(files, tmp_path, suffix):
    empty = pa.table({"_id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "empty.parquet")
    data = {"parquet": (tmp_path / "empty.parquet").read_bytes(), "tsv.gz": gzip.compress(b"")}.get(suffix, b"")
    dataset = files((f"c.{suffix}", data))
    assert len(dataset.parts("docs")) == 1
    assert rows(dataset, "docs") == []


@pytest.mark.parametrize(
    ("table", "line", "reason"),
    [
        ("docs", "1", "expected an id and a text, or an id, a url, a title and a text, separated by tabs"),
        ("docs", "1 x", "expected an id and a text, or an id, a url, a title and a text, separated by tabs"),
        ("docs", "1\ta\tb", "expected an id and a text, or an id, a url, a title and a text, separated by tabs"),
        ("docs", "\ttext", "no id"),
        ("docs", "1\t ", "empty title and text"),
        ("queries", "1\ta\tb", "expected an id and a text, separated by a tab"),
        ("queries", "1\t", "empty text"),
        ("queries", "a\x00b\ttext", "id with a line break or another control character"),
        ("qrels", "1 2", "expected a query, a document and a grade, or TREC's four columns"),
        ("qrels", "1 0 2 high", "the grade is not a whole number"),
    ],
)
def test_bad_lines(files, table, line, reason):
    data = {"docs": b"9\tx\n", "queries": b"9\tx\n", "qrels": b"9 0 9 1\n"}
    data[table] += f"{line}\n".encode()
    dataset = files(("c.tsv", data["docs"]), ("q.tsv", data["queries"]), ("t.txt", data["qrels"]))
    assert rows(dataset, table)[1] == Bad(reason, line)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"q": "1", "d": "2", "grade": 1.5}, "the grade is not a whole number"),
        ({"q": "1", "d": "2", "grade": True}, "the grade is not a whole number"),
        ({"q": "1", "d": "2", "grade": None}, "the grade is not a whole number"),
        ({"q": "1", "d": "2", "grade": float("nan")}, "the grade is not a whole number"),
        ({"q": "1", "d": "2", "grade": float("inf")}, "the grade is not a whole number"),
        ({"q": "1", "d": "2", "grade": 1 << 40}, "the grade is out of range"),
        ({"q": None, "d": "2", "grade": 1}, "no query_id"),
        ({"q": 1, "d": "", "grade": 1}, "no doc_id"),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_bad_records(files, tmp_path, record, reason, suffix):
    data = parquet(tmp_path, [record]) if suffix == "parquet" else jsonl([record])
    (bad,) = rows(files(("c.tsv", b""), test=(f"t.{suffix}", data), columns=MINE), "qrels")
    assert isinstance(bad, Bad)
    assert bad.reason == reason
    assert "grade" in bad.raw


def test_whole_grades_and_number_ids_of_any_type(files, tmp_path):
    data = parquet(tmp_path, [{"query-id": 1, "corpus-id": "2", "score": 3.0}])
    dataset = files(("c.tsv", b""), test=("t.parquet", data))
    assert rows(dataset, "qrels") == [{"query_id": "1", "doc_id": "2", "relevance": 3, "split": "test"}]


def test_patterns_and_several_files(files, tmp_path):
    files(("corpus/b.tsv", b"b\ttext\n"))
    files(("corpus/a.jsonl", b'{"_id": "a", "text": "text"}\n'))
    files(("more [1].tsv", b"m\ttext\n"))
    options = {"queries": "q.tsv", "test": "t.txt", "path": str(tmp_path)}
    found = [row["doc_id"] for row in rows(Files(docs="more [1].tsv, corpus/*", **options), "docs")]
    assert found == ["m", "a", "b"]
    absolute = Files(docs=f"{tmp_path}/corpus/*.tsv", **options)
    assert [row["doc_id"] for row in rows(absolute, "docs")] == ["b"]
    assert [row["doc_id"] for row in rows(Files(docs="corpus/b.tsv,corpus/*", **options), "docs")] == ["b", "a"]


def test_a_pattern_gives_files_in_the_order_of_their_names(files, tmp_path):
    names = [f"part-{number:02d}.tsv" for number in range(40)]
    for name in random.Random(0).sample(names, 40):
        files((f"corpus/{name}", f"{name}\ttext\n".encode()))
    dataset = Files(docs="corpus/*.tsv", queries="q.tsv", test="t.txt", path=str(tmp_path))
    assert [row["doc_id"] for row in rows(dataset, "docs")] == names


def test_judgments_of_the_splits(files, tmp_path):
    for split in ("test", "dev", "train"):
        (tmp_path / f"{split}.txt").write_bytes(f"{split} 0 d 1\n".encode())
    options = {"docs": "c.tsv", "queries": "q.tsv", "path": str(tmp_path)}
    options |= {split: f"{split}.txt" for split in ("test", "dev", "train")}

    def read(**changed):
        return [(row["query_id"], row["split"]) for row in rows(Files(**options | changed), "qrels")]

    assert read() == [(split, split) for split in ("test", "train", "dev")]
    assert read(dev="") == [(split, split) for split in ("test", "train")]
    assert read(split="dev") == [("dev", "dev"), ("train", "train")]
    assert read(split="dev", test="") == [("dev", "dev"), ("train", "train")]
    exchanged = Files(**options | {"train": "dev.txt", "dev": "train.txt"})
    assert Files(**options).content("qrels") != exchanged.content("qrels")


def test_content_follows_the_data_and_not_the_place(files, tmp_path):
    dataset = files(("c.tsv", b"1\tx\n"))
    other = files(("elsewhere/c.tsv", b"1\tx\n"))
    assert dataset.content("docs") == other.content("docs")
    assert read_settings(dataset) == read_settings(other) == {"class": Files, "columns": BEIR}
    assert read_settings(files(("c.tsv", b""), columns=MINE)) != read_settings(dataset)
    (tmp_path / "c.tsv").write_bytes(b"1\ty\n")
    assert dataset.content("docs") != other.content("docs")


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError) as caught:
        Files(docs="c.tsv", split="dev", test="t.txt")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["queries", "dev"]
    with pytest.raises(ConfigError, match="split: 'eval' is not one of test, dev, train"):
        Files(docs="c", queries="q", test="t", split="eval")
    with pytest.raises(ConfigError, match="no Snowball stemmer"):
        Files(docs="c", queries="q", test="t", language="klingon")


def test_documents_alone_have_no_queries_and_no_judgments(files):
    folder = files(("c.tsv", b"1\tx\n")).path
    alone = Files(docs="c.tsv", path=folder)
    assert len(alone.parts("docs")) == 1
    assert alone.parts("queries") == alone.parts("qrels") == []


@pytest.mark.parametrize("name", ["gone.tsv", "gone/*.tsv", "", "c.tsv,gone.tsv", "."])
def test_a_missing_file(files, tmp_path, name):
    files(("c.tsv", b"1\tx\n"))
    dataset = Files(docs=name or " ", queries="q.tsv", test="t.txt", path=str(tmp_path))
    with pytest.raises(DataError, match=r"dataset\.docs: no file .*"):
        dataset.parts("docs")


def test_a_file_that_may_not_be_read(files, monkeypatch):
    def _refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("gradret.store.fingerprint._sha256", _refuse)
    with pytest.raises(DataError, match=r"cannot read .*c\.tsv: Permission denied"):
        files(("c.tsv", b"1\tx\n")).content("docs")


@pytest.mark.parametrize(
    ("table", "lines", "row"),
    [
        ("docs", "docid\tcontents\nd1\tsome text", {"doc_id": "d1", "title": "", "text": "some text"}),
        ("docs", "id\ttext\ttitle\n7\tbody\thead", {"doc_id": "7", "title": "head", "text": "body"}),
        ("docs", "mine\turl\tmy text\n7\thttp\tbody", {"doc_id": "7", "title": "", "text": "body"}),
        ("docs", "\n \ndocid\tcontents\nd1\tsome text", {"doc_id": "d1", "title": "", "text": "some text"}),
        ("queries", "qid\tquery\nq1\twhat", {"query_id": "q1", "text": "what"}),
        ("qrels", "topic\titeration\tdocno\trel\n1\t0\td\t2", {"query_id": "1", "doc_id": "d", "relevance": 2}),
        ("qrels", "q\tgrade\td\n1\t2\td", {"query_id": "1", "doc_id": "d", "relevance": 2}),
    ],
)
def test_a_header_is_no_row_and_says_where_the_columns_are(files, table, lines, row):
    names = {"doc_id": "mine", "text": "my text", "judged_query_id": "q", "judged_doc_id": "d", "relevance": "grade"}
    data = {"docs": b"9\tx\n", "queries": b"9\tx\n", "qrels": b"9 0 9 1\n"} | {table: f"{lines}\n".encode()}
    dataset = files(
        ("c.tsv", data["docs"]), ("q.tsv", data["queries"]), ("t.txt", data["qrels"]), columns=Columns(**names)
    )
    (read,) = rows(dataset, table)
    read.pop("split", None)
    assert read == row


def zstd(data):
    return pa.Codec("zstd").compress(data).to_pybytes()


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("zst", zstd)])
def test_compressed_files_in_pieces(files, monkeypatch, suffix, compress):
    monkeypatch.setattr(_lines, "_COMPRESSED_PART_BYTES", 500)
    whole = tsv(drawn(200))
    packed = files((f"c.tsv.{suffix}", compress(whole)), (f"q.tsv.{suffix}", compress(whole)))
    assert len(packed.parts("docs")) > 3
    assert rows(packed, "docs") == rows(files(("c.tsv", whole)), "docs")
    with pytest.raises(DataError, match=r"cannot be decompressed: .*; is the file complete\?"):
        files((f"c.tsv.{suffix}", compress(whole)[:-20])).parts("docs")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"plain text",
        lambda data: data[:30] + b"\xff" * 40 + data[70:],
        lambda data: data[:-8] + b"12345678",
    ],
)
def test_a_damaged_gzip(files, damage):
    data = gzip.compress(tsv(drawn(200)))
    with pytest.raises(DataError, match=r"c\.tsv\.gz cannot be decompressed: .*; is the file complete\?"):
        files(("c.tsv.gz", damage(data))).parts("docs")


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"1\ttext\n"])
def test_a_damaged_parquet(files, tmp_path, damage):
    data = parquet(tmp_path, docs_records())
    with pytest.raises(DataError, match=r"cannot read .*c\.parquet as Parquet"):
        files(("c.parquet", damage(data))).parts("docs")


def test_damage_inside_of_a_parquet_is_found_when_it_is_read(files, tmp_path):
    data = parquet(tmp_path, [{"_id": doc_id, "text": text} for doc_id, text in drawn(200)])
    dataset = files(("c.parquet", data[:4] + b"\xff" * 3000 + data[3004:]))
    with pytest.raises(DataError, match=r"cannot read .*c\.parquet as Parquet"):
        rows(dataset, "docs")


# Arrow does not check that text is UTF-8, neither when it writes nor when it reads.
NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.array([0, 2, 4], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfeok")]
)


@pytest.mark.parametrize(("name", "reason"), [("_id", "not UTF-8"), ("title", "not UTF-8"), ("text", "not UTF-8")])
def test_parquet_text_that_is_not_utf8_is_a_bad_row(files, tmp_path, name, reason):
    table = pa.table({"_id": ["a", "b"], "title": ["x", "y"], "text": ["u", "v"]} | {name: NOT_UTF8})
    pq.write_table(table, tmp_path / "w.parquet")
    dataset = files(("c.parquet", (tmp_path / "w.parquet").read_bytes()))
    bad, good = rows(dataset, "docs")
    assert bad == Bad(reason, repr(b"\xff\xfe"))
    assert good == {"doc_id": "b", "title": "y", "text": "v"} | {{"_id": "doc_id"}.get(name, name): "ok"}


def test_a_date_beyond_python_is_a_bad_row(files, tmp_path):
    late = pa.array([1 << 55, 0], pa.timestamp("ms"))
    pq.write_table(pa.table({"_id": ["a", "b"], "title": late, "text": ["u", "v"]}), tmp_path / "w.parquet")
    first, second = rows(files(("c.parquet", (tmp_path / "w.parquet").read_bytes())), "docs")
    assert first.reason == "a value that Python cannot represent"
    assert second.reason == "the title or text is not a string"


def test_two_columns_of_one_name_are_refused(files, tmp_path):
    pq.write_table(pa.table([["a"], ["x"], ["y"]], ["_id", "text", "text"]), tmp_path / "w.parquet")
    with pytest.raises(DataError, match=r"c\.parquet: 2 columns are called 'text'; rename all but one"):
        files(("c.parquet", (tmp_path / "w.parquet").read_bytes())).parts("docs")


def test_only_the_blanks_of_c_separate_judgments(files):
    lines = "q\u00a01 0 d\u30001 1\nq2\t0 \td2\t2\nq3 \x0b0\x0cd3  3\n".encode()
    found = rows(files(("c.tsv", b""), test=("t.txt", lines)), "qrels")
    assert [tuple(row.values())[:3] for row in found] == [
        ("q\u00a01", "d\u30001", 1),
        ("q2", "d2", 2),
        ("q3", "d3", 3),
    ]


def test_a_missing_column_names_those_there_are(files, tmp_path):
    dataset = files(("c.parquet", parquet(tmp_path, [{"number": "1", "text": "x"}])))
    with pytest.raises(
        DataError, match=r"c\.parquet: no column '_id'; it has number, text\. Set their names in dataset\.columns"
    ):
        dataset.parts("docs")


def test_only_the_named_columns_decide_the_pieces(files, tmp_path, monkeypatch):
    monkeypatch.setattr(_tables, "_PART_BYTES", 20_000)
    draw = random.Random(0)
    wide = [{"_id": d, "text": text, "vector": [draw.random() for _ in range(500)]} for d, text in drawn(2000)]
    narrow = [{"_id": row["_id"], "text": row["text"]} for row in wide]
    counts = [len(files(("c.parquet", parquet(tmp_path, records))).parts("docs")) for records in (wide, narrow)]
    assert counts[0] == counts[1] > 1
