"""Reading BEIR folders: pieces of any size, line ends, and every kind of bad row."""

import itertools
import json

import pytest

from gradret.datasets import Bad, Part, _lines, read_settings
from gradret.datasets.beir import Beir
from gradret.errors import ConfigError, DataError


def read(folder, table, **options):
    dataset = Beir(path=str(folder), **options)
    return [(part.path, line, row) for part in dataset.parts(table) for line, row in dataset.read(table, part)]


def reasons(folder, table):
    return [(line, row.reason) for _, line, row in read(folder, table) if isinstance(row, Bad)]


def test_rows_of_all_tables(beir):
    folder = beir()
    first = {"doc_id": "d1", "title": "Wings", "text": "A wing in a slipstream gains lift."}
    assert read(folder, "docs")[0] == (str(folder / "corpus.jsonl"), 1, first)
    assert [row for _, _, row in read(folder, "queries")][1] == {"query_id": "q2", "text": "when does a shell buckle"}
    assert read(folder, "qrels") == [
        (str(folder / "qrels" / "test.tsv"), 2, {"query_id": "q1", "doc_id": "d1", "relevance": 2, "split": "test"}),
        (str(folder / "qrels" / "test.tsv"), 3, {"query_id": "q2", "doc_id": "d3", "relevance": 1, "split": "test"}),
    ]


LINES = [
    b'{"_id": "a", "text": "one"}',
    b"",
    '{"_id": "b", "text": "caf\u00e9 \u65e5\u672c"}'.encode(),
    b"{broken",
    b'{"_id": "c", "text": "' + b"x" * 50 + b'"}',
    b"   ",
    b'{"_id": "d", "text": "last"}',
]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("blank", [0, 3])
def test_pieces_of_any_size_read_the_same(beir, monkeypatch, end, closed, blank):
    data = end * blank + end.join(LINES) + (end if closed else b"")
    folder = beir(docs=data)
    whole = read(folder, "docs")
    assert [line - blank for _, line, _ in whole] == [1, 3, 4, 5, 7]
    assert list(Beir(path=str(folder)).read("docs", Part(str(folder / "corpus.jsonl")))) == [row[1:] for row in whole]
    for size in range(1, len(data) + 2):
        monkeypatch.setattr(_lines, "_PART_BYTES", size)
        parts = Beir(path=str(folder)).parts("docs")
        assert read(folder, "docs") == whole
        assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
        assert parts[-1].end == len(data)
    assert len(parts) == (1 if closed else 2)  # what no line end closes is a piece of its own


def test_an_empty_file_is_one_empty_piece(beir):
    folder = beir(docs=b"")
    assert Beir(path=str(folder)).parts("docs") == [Part(str(folder / "corpus.jsonl"), 0, 0)]
    assert read(folder, "docs") == []


def test_a_byte_order_mark_is_no_part_of_the_first_row(beir):
    folder = beir(docs=b'\xef\xbb\xbf{"_id": "a", "text": "x"}\n')
    assert read(folder, "docs")[0][2] == {"doc_id": "a", "title": "", "text": "x"}


def test_ids_may_be_numbers_and_titles_may_lack(beir):
    folder = beir(docs=[{"_id": 7, "text": "x", "metadata": {}}, {"_id": 0, "title": None, "text": "y"}])
    assert [row["doc_id"] for _, _, row in read(folder, "docs")] == ["7", "0"]
    assert {row["title"] for _, _, row in read(folder, "docs")} == {""}


def test_a_title_alone_is_a_document(beir):
    assert read(beir(docs=[{"_id": "a", "title": "only"}]), "docs")[0][2]["text"] == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"_id": "a", "text": ', "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"_id": ' + b"9" * 5000 + b', "text": "x"}', "invalid JSON"),
        (b'["a", "b"]', "not a JSON object"),
        (b'{"text": "x"}', "no _id"),
        (b'{"_id": "", "text": "x"}', "no _id"),
        (b'{"_id": null, "text": "x"}', "no _id"),
        (b'{"_id": true, "text": "x"}', "no _id"),
        (b'{"_id": 1.5, "text": "x"}', "no _id"),
        (b'{"_id": "a\\nb", "text": "x"}', "_id with a line break or another control character"),
        (b'{"_id": "a\\ud800", "text": "x"}', "_id with a line break or another control character"),
        (b'{"_id": "a", "text": ["x"]}', "the title or text is not a string"),
        (b'{"_id": "a", "text": "\\ud800"}', "an unpaired surrogate in the text"),
        ('{"_id": "a", "text": "caf\u00e9"}'.encode("latin-1"), "not UTF-8"),
    ],
)
@pytest.mark.parametrize("table", ["docs", "queries"])
def test_bad_records(beir, table, line, reason):
    data = b'{"_id": "good", "text": "x"}\n' + line + b"\n"
    folder = beir(docs=data, queries=data)
    assert reasons(folder, table) == [(2, reason)]


def test_a_whole_pair_of_surrogates_is_text(beir):
    folder = beir(docs=b'{"_id": "a", "text": "\\ud83d\\ude00"}\n')
    assert read(folder, "docs")[0][2]["text"] == "\N{GRINNING FACE}"


@pytest.mark.parametrize("text", ["", "  ", None])
def test_empty_texts(beir, text):
    folder = beir(docs=[{"_id": "a", "title": " ", "text": text}], queries=[{"_id": "a", "text": text}])
    assert reasons(folder, "docs") == [(1, "empty title and text")]
    assert reasons(folder, "queries") == [(1, "empty text")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q1\td1", "expected the 3 columns of the header"),
        ("q1\t0\td1\t1", "expected the 3 columns of the header"),
        ("q1\td1\t1\t1\t1", "expected the 3 columns of the header"),
        ("\td1\t1", "no query_id"),
        ("q1\t\t1", "no doc_id"),
        ("q1\td1\t0.5", "the grade is not a whole number"),
        ("q1\td1\t1_0", "the grade is not a whole number"),
        ("q1\td1\t\N{ARABIC-INDIC DIGIT ONE}", "the grade is not a whole number"),
        ("q1\td1\t1,5", "the grade is not a whole number"),
        ("q1\td1\tgood", "the grade is not a whole number"),
        ("q1\td1\t", "the grade is not a whole number"),
        (f"q1\td1\t{1 << 31}", "the grade is out of range"),
    ],
)
def test_bad_judgments(beir, line, reason):
    folder = beir(qrels={"test": f"query-id\tcorpus-id\tscore\nq1\td1\t1\n{line}\n".encode()})
    assert reasons(folder, "qrels") == [(3, reason)]


@pytest.mark.parametrize("line", ["q1\t0\td 1\t2", "q1\td 1\t2", "q1\tQ0\td 1\t 2"])
def test_judgments_may_have_the_four_columns_of_trec(beir, line):
    rows = [row for _, _, row in read(beir(qrels={"test": f"{line}\n".encode()}), "qrels")]
    assert rows == [{"query_id": "q1", "doc_id": "d 1", "relevance": 2, "split": "test"}]


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        ("q1\td1\t1", 2),
        ("q1\td1\t1.0", 2),
        ("query-id\tcorpus-id\tscore", 1),
        ("\ufeffQID\tDocNo\tRelevance", 1),
        ("query_id doc_id relevance", 1),
    ],
)
def test_only_a_header_is_skipped(beir, first, rows):
    folder = beir(qrels={"test": f"{first}\r\nq1\td2\t-1\r\n".encode()})
    if " " in first:
        folder = beir(qrels={"test": f"{first}\nq1 d2 -1\n".encode()})
    assert [row["relevance"] for _, _, row in read(folder, "qrels")][-rows:] == [1, -1][-rows:]
    assert len(read(folder, "qrels")) == rows


@pytest.mark.parametrize("value", ["relevant", "NaN", "", "1,5", "c"])
def test_a_first_line_with_a_bad_value_is_no_header(beir, value):
    folder = beir(qrels={"test": f"q1\td1\t{value}\nq1\td2\t1\n".encode()})
    assert reasons(folder, "qrels") == [(1, "the grade is not a whole number")]


@pytest.mark.parametrize("value", [0, False, [], {}, 1.5])
def test_a_text_of_another_kind_is_not_an_empty_one(beir, value):
    folder = beir(docs=[{"_id": "a", "text": value}], queries=[{"_id": "a", "text": value}])
    assert reasons(folder, "docs") == reasons(folder, "queries") == [(1, "the title or text is not a string")]


def test_nan_is_a_missing_title(beir):
    folder = beir(docs=b'{"_id": "a", "title": NaN, "text": "x"}\n')
    assert read(folder, "docs")[0][2] == {"doc_id": "a", "title": "", "text": "x"}


def test_judgments_of_train_and_dev_come_along_and_those_of_test_only_if_asked_for(beir):
    folder = beir(qrels={split: [("q1", "d1", 1)] for split in ("train", "dev", "test", "other")})
    splits = {
        split: [row["split"] for _, _, row in read(folder, "qrels", split=split)]
        for split in ("test", "dev", "train", "other")
    }
    assert splits == {
        "test": ["test", "train", "dev"],
        "dev": ["dev", "train"],
        "train": ["train", "dev"],
        "other": ["other", "train", "dev"],
    }


def test_content_changes_with_the_files_and_only_with_them(beir):
    folder, other = beir(), beir(name="elsewhere")
    tables = ("docs", "queries", "qrels")
    before = {table: Beir(path=str(folder)).content(table) for table in tables}
    assert before == {table: Beir(path=str(other)).content(table) for table in tables}
    for table, path in zip(tables, ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"), strict=True):
        old = (folder / path).read_bytes()
        (folder / path).write_bytes(old[:-2] + b" \n")
        changed = {name for name in tables if Beir(path=str(folder)).content(name) != before[name]}
        assert changed == {table}
        (folder / path).write_bytes(old)


def test_a_fingerprint_knows_neither_place_nor_split_nor_language():
    assert (
        read_settings(Beir(path="a", split="dev", language="none")) == read_settings(Beir(path="b")) == {"class": Beir}
    )


def test_judgments_of_another_split_are_another_content(beir):
    folder = beir(qrels={"test": [("q1", "d1", 1)], "train": [("q2", "d2", 1)]})
    before = Beir(path=str(folder)).content("qrels")
    (folder / "qrels" / "train.tsv").rename(folder / "qrels" / "dev.tsv")
    assert Beir(path=str(folder)).content("qrels") != before


def test_a_missing_folder(tmp_path):
    for table in ("docs", "queries", "qrels"):
        with pytest.raises(DataError, match=r"dataset\.path: no folder at .*nowhere"):
            Beir(path=str(tmp_path / "nowhere")).content(table)


def test_a_file_in_place_of_the_folder(beir):
    with pytest.raises(DataError, match=r"dataset\.path: no folder at .*corpus\.jsonl"):
        Beir(path=str(beir() / "corpus.jsonl")).parts("docs")


@pytest.mark.parametrize(("table", "file"), [("docs", "corpus.jsonl"), ("queries", "queries.jsonl")])
def test_a_missing_file(beir, table, file):
    folder = beir()
    (folder / file).unlink()
    with pytest.raises(DataError, match=f"{file}: no such file; a BEIR folder has {file}"):
        Beir(path=str(folder)).content(table)


def test_a_corpus_alone_has_no_queries_and_no_judgments(beir):
    folder = beir(queries=None, qrels={})
    (folder / "qrels").rmdir()
    alone = Beir(path=str(folder))
    assert len(alone.parts("docs")) == 1
    assert alone.parts("queries") == alone.parts("qrels") == []
    assert alone.content("queries") == alone.content("qrels")


def test_a_missing_split_names_the_splits_there_are(beir):
    folder = beir(qrels={"train": [("q1", "d1", 1)], "dev": [("q1", "d1", 1)]})
    with pytest.raises(DataError, match=r"qrels/test\.tsv: no such file.*dataset\.split has files for: dev, train"):
        Beir(path=str(folder)).content("qrels")
    for path in (folder / "qrels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"dataset\.split has files for: none"):
        Beir(path=str(folder)).content("qrels")


def test_a_file_that_may_not_be_read(beir, monkeypatch):
    def _refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("gradret.store.fingerprint._sha256", _refuse)
    with pytest.raises(DataError, match=r"cannot read .*corpus\.jsonl: Permission denied"):
        Beir(path=str(beir())).content("docs")


def test_path_and_language_are_checked_when_it_is_made():
    with pytest.raises(ConfigError, match="path: is required"):
        Beir()
    with pytest.raises(ConfigError, match=r"language 'klingon' has no Snowball stemmer; use one of .*english.*none"):
        Beir(path="x", language="klingon")
    for language in ("none", "german"):
        Beir(path="x", language=language)


def test_rows_are_read_lazily(beir):
    folder = beir(docs=b"".join(json.dumps({"_id": i, "text": "x"}).encode() + b"\n" for i in range(1000)))
    dataset = Beir(path=str(folder))
    assert len(list(itertools.islice(dataset.read("docs", dataset.parts("docs")[0]), 3))) == 3
