"""Run files: read as trec_eval does, round trips, and errors."""

import gzip
import random

import numpy as np
import pytest
import pytrec_eval

from gradret.errors import DataError
from gradret.search.trec import read_run, write_run


def write(tmp_path, text, name="a.trec"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rankings(table):
    found = {}
    for row in table.to_pylist():
        found.setdefault(row["query_id"], []).append((row["rank"], row["doc_id"]))
    assert all([rank for rank, _ in rows] == list(range(1, len(rows) + 1)) for rows in found.values())
    return {query_id: [doc_id for _, doc_id in rows] for query_id, rows in found.items()}


def test_the_score_decides_and_not_the_rank_nor_the_order(tmp_path):
    path = write(tmp_path, "q2 Q0 d1 9 0.5 t\nq1\tQ0\td2\t1\t1e-1\tt\n\n  q2   Q0 d3  1   -2 t \r\nq1 0 d1 2 7 other\n")
    rows = read_run(path)
    assert rankings(rows) == {"q1": ["d1", "d2"], "q2": ["d1", "d3"]}
    assert rows["score"].to_pylist() == [7.0, np.float32(0.1), 0.5, -2.0]
    assert str(rows.schema.field("score").type) == "float"
    assert str(rows.schema.field("rank").type) == "int32"


def test_ties_are_trec_evals(tmp_path):
    # Scores that differ in 64 bits alone are ties there; where a document comes first its reciprocal rank is 1.
    draw = random.Random(4)
    docs = [f"d{number}" for number in range(40)]
    scores = {doc: draw.choice([1.0, 1.0 + 1e-9, 2.0, 2.0 + 1e-7, -3.5]) for doc in draw.sample(docs, 40)}
    path = write(tmp_path, "".join(f"q Q0 {doc} 0 {score!r} t\n" for doc, score in scores.items()))
    ranking = rankings(read_run(path))["q"]
    for doc in docs:
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {doc: 1}}, {"recip_rank"})
        assert 1 / (ranking.index(doc) + 1) == pytest.approx(evaluator.evaluate({"q": scores})["q"]["recip_rank"])


def test_ids_of_any_script_and_a_gzipped_file(tmp_path):
    text = "\ufeffq Q0 größe 1 1 t\nq Q0 文 1 1 t\nq Q0 a\u00a0b 1 1 t\n"
    packed = tmp_path / "a.trec.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    # Of equal scores the greater id first, by its bytes; only ASCII's blanks part columns.
    assert rankings(read_run(packed)) == rankings(read_run(write(tmp_path, text))) == {"q": ["文", "größe", "a\u00a0b"]}


def test_a_written_run_reads_back(tmp_path, artifact):
    draw = random.Random(1)
    rows = [
        {
            "query_id": f"q{query}",
            "doc_id": f"d{rank:02d}",
            "score": float(np.float32(draw.random() - rank)),
            "rank": rank,
        }
        for query in range(5)
        for rank in range(1, 20)
    ]
    made = artifact("search", run=rows)
    write_run(tmp_path / "x.trec", made, "x")
    columns = ["query_id", "doc_id", "score", "rank"]
    assert read_run(tmp_path / "x.trec").select(columns).to_pylist() == made.table("run").select(columns).to_pylist()


def test_ids_with_blanks_read_back(tmp_path, artifact):
    ids = [("a b", "c d"), ("a b", "c%20d"), ("e", "f"), ("e", " g ")]
    rows = [{"query_id": q, "doc_id": d, "score": -float(n), "rank": n % 2 + 1} for n, (q, d) in enumerate(ids)]
    made = artifact("search", run=rows)
    write_run(tmp_path / "y.trec", made, "y")
    assert read_run(tmp_path / "y.trec").select(["query_id", "doc_id"]).to_pylist() == [
        {"query_id": query_id, "doc_id": doc_id} for query_id, doc_id in ids
    ]
    assert (tmp_path / "y.trec").read_text().splitlines()[:3] == [
        "a b\tQ0\tc d\t1\t-0\ty",
        "a b\tQ0\tc%20d\t2\t-1\ty",
        "e Q0 f 1 -2 y",
    ]


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
def test_chunks_do_not_show(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr("gradret.search.trec._CHUNK_LINES", at_once)
    path = write(tmp_path, "".join(f"q{n % 2} Q0 d{n} 1 {n % 3} t\n" for n in range(6)))
    assert rankings(read_run(path)) == {"q0": ["d2", "d4", "d0"], "q1": ["d5", "d1", "d3"]}


SIX = "expected six columns, 'query_id Q0 doc_id rank score tag'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 d 1 1 t\nq Q0 e 1 1\n", f"a.trec:2: {SIX}, got 5: 'q Q0 e 1 1'"),
        ("q Q0 d 1 1 a tag\n", f"a.trec:1: {SIX}, got 7"),
        ("q Q0 d 1 nan t\n", "a.trec:1: the score, column 5, is not a number: 'q Q0 d 1 nan t'"),
        ("q Q0 d 1 1_0 t\n", "a.trec:1: the score, column 5, is not a number"),
        ("\nq Q0 d 1 high t\n", "a.trec:2: the score, column 5, is not a number"),
        ("q Q0 d 1 3 t\nr Q0 d 1 3 t\nq Q0 e 1 2 t\nq Q0 d 2 1 t\n", "a.trec:4: query 'q' lists document 'd' again"),
        (b"q Q0 \xff 1 1 t\n", "a.trec:1: not UTF-8: 'q Q0 \ufffd 1 1 t'"),
        ("q\x00 Q0 d 1 1 t\n", "a.trec:1: query_id with a line break or another control character"),
        ("q\tQ0\t\t1\t1\tt\n", "a.trec:1: no doc_id: 'q\\tQ0"),
        ("", "a.trec is empty; expected six columns"),
        ("\n \n", "a.trec is empty"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        read_run(write(tmp_path, text))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_or_not_whole(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.trec cannot be read: No such file or directory"):
        read_run(tmp_path / "nowhere.trec")
    packed = gzip.compress(b"q Q0 d 1 1 t\n" * 1000)
    for content in (packed[:-9], b"q Q0 d 1 1 t\n"):
        with pytest.raises(DataError, match=r"a\.gz cannot be decompressed: .*; is the file complete\?"):
            read_run(write(tmp_path, content, "a.gz"))
