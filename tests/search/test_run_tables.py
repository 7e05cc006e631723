"""Runs as tables, written by pandas and json as PyTerrier and ranx do, against the same run as TREC lines."""

import gzip
import json
import random

import pandas as pd
import pytest

from gradret.errors import DataError
from gradret.search.trec import read_run

DRAW = random.Random(0)
SCORES = {
    f"0{n}": {f"d{d}": DRAW.choice([1.5, -2.0, DRAW.random()]) for d in DRAW.sample(range(50), 9)} for n in range(7)
}
ROWS = [(query_id, doc_id, score) for query_id, ranked in SCORES.items() for doc_id, score in ranked.items()]
FRAME = pd.DataFrame(ROWS, columns=["qid", "docno", "score"]).assign(docid=range(len(ROWS)))


@pytest.fixture
def trec(tmp_path):
    lines = [f"{query_id} Q0 {doc_id} 0 {score!r} t" for query_id, doc_id, score in ROWS]
    (tmp_path / "a.res").write_text("\n".join(lines))
    return read_run(tmp_path / "a.res")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_pyterriers_frames(tmp_path, trec, name):
    frame = FRAME.assign(rank=0, query="some words, and more")
    frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_csv(tmp_path / name, index=False)
    assert read_run(tmp_path / name).equals(trec)


def test_ranxs_json_and_parquet(tmp_path, trec):
    (tmp_path / "a.json").write_text(json.dumps(SCORES))
    assert read_run(tmp_path / "a.json").equals(trec)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(SCORES).encode()))
    assert read_run(tmp_path / "a.json.gz").equals(trec)
    FRAME[["qid", "docno", "score"]].set_axis(["q_id", "doc_id", "score"], axis=1).to_parquet(tmp_path / "a.parquet")
    assert read_run(tmp_path / "a.parquet").equals(trec)


def test_whole_numbers_are_ids_in_parquet(tmp_path):
    pd.DataFrame({"qid": [7, 7], "docno": [1, 2], "score": [0.5, 1.5]}).to_parquet(tmp_path / "a.parquet")
    assert read_run(tmp_path / "a.parquet")["doc_id"].to_pylist() == ["2", "1"]


BAD = {
    "a.csv": [
        ("qid,docno\n1,2\n", "expected columns such as qid, docno and score, got qid, docno"),
        ("qid,docno,score\n1,2,x\n", "cannot be read as a run: In CSV column #2"),
        ("qid,docno,score\n1,2,1\n,2,1\n", r"a\.csv:3: .*query_id"),
        ("qid,docno,score\n1,2,1\n1,3,nan\n", r"a\.csv:3: the score is missing or not a number"),
        ("qid,docno,score\n1,2,1\n1,2,3\n", r"a\.csv:3: query '1' lists document '2' again, after line 2"),
        ("qid,docno,score\n", "is empty"),
    ],
    "a.json": [
        ("[]", "expected {query_id: {doc_id: score}}, as ranx writes it"),
        ('{"q": {"d": "1"}}', "expected {query_id"),
        ('{"q": {"d": 1, "d": 2}}', "lists 'd' twice; keep one"),
        ('{"q": {"d": 1}', "cannot be read as a run"),
        ("{}", "is empty"),
    ],
    "a.parquet": [("no parquet", "cannot be read as a run")],
}


@pytest.mark.parametrize(("name", "text", "said"), [(name, *case) for name, cases in BAD.items() for case in cases])
def test_what_cannot_be_used_is_told(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        read_run(tmp_path / name)


def test_fractions_are_no_ids(tmp_path):
    pd.DataFrame({"qid": [7.5], "docno": ["a"], "score": [0.5]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column qid must hold strings or whole numbers, got double"):
        read_run(tmp_path / "a.parquet")
