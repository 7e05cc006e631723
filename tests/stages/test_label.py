import pytest

from gradret.config import Label
from gradret.errors import StageError
from gradret.stages.label import label
from gradret.stages.mine import pair_id

from . import tiny
from .outside import Numbers

pytestmark = pytest.mark.usefixtures("ray_session")
NAME = "tests.stages.outside:Numbers"


def labelled(settings, tmp_path, teacher):
    """Two shards of pairs; the queries come in no order of their names, the lists differ in length."""
    lists = [{5: [0, 3, 4], 2: [9, 7]}, {8: [1], 0: [6, 2, 8, 0], 1: [3, 5]}]
    shards = [
        [
            {
                "pair_id": pair_id(f"q{q:03d}", f"d{d:03d}"),
                "query_id": f"q{q:03d}",
                "doc_id": f"d{d:03d}",
                "origins": ["x"],
                "ranks": [1],
            }
            for q, docs in part.items()
            for d in docs
        ]
        for part in lists
    ]
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(n, "text") for n in range(10)]]})
    generated = tiny.artifact(tmp_path, "generate", {"queries": [[tiny.query(n, "a") for n in range(10)]]})
    mined = tiny.artifact(tmp_path, "mine", {"pairs": shards}, rows_in=5, rows_out=12)
    return mined, label(settings(label=Label(teacher=teacher)), ingested, generated, mined)


def test_every_pair_gets_its_own_score(settings, tmp_path):
    mined, labels = labelled(settings, tmp_path, Numbers())
    rows = labels.table("labels").to_pylist()
    assert len(rows) == 12
    for row in rows:
        assert row["score"] == 1000 * int(row["query_id"][1:]) + int(row["doc_id"][1:])
        assert row["pair_id"] == pair_id(row["query_id"], row["doc_id"])
        assert row["source"] == NAME
    assert sorted(row["pair_id"] for row in rows) == sorted(mined.table("pairs")["pair_id"].to_pylist())
    assert labels.counts == {"rows_in": 12, "rows_out": 12, "quarantined": 0}


def test_scores_that_are_not_finite_are_quarantined(settings, tmp_path):
    _, labels = labelled(settings, tmp_path, Numbers(broken="q000 d002 nan,q005 d003 inf"))
    rows = labels.table("labels").to_pylist()
    assert len(rows) == 10
    assert all(row["score"] == 1000 * int(row["query_id"][1:]) + int(row["doc_id"][1:]) for row in rows)
    dropped = labels.table("quarantine").to_pylist()
    assert {(row["where"], row["reason"], row["raw"]) for row in dropped} == {
        ("q000 d002", "score is not finite", "nan"),
        ("q005 d003", "score is not finite", "inf"),
    }
    assert labels.counts == {"rows_in": 12, "rows_out": 10, "quarantined": 2}


def test_a_teacher_that_forgets_a_score_is_named(settings, tmp_path):
    with pytest.raises(StageError, match=rf"teacher {NAME}: score\(\) must give one score a document"):
        labelled(settings, tmp_path, Numbers(short=True))
