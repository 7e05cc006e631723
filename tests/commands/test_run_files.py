"""Comparison of run files by a file of judgments."""

import os
from pathlib import Path

import pytest

from gradret.commands.run_files import compare_runs
from gradret.errors import ConfigError, DataError

PUBLISHED = {"BM25": 0.5058, "D_BERT_KD_TASB": 0.7210, "OPEN_AI_ADA2": 0.7035, "SPLADE_P_P_ENSEMBLE_DISTIL": 0.7308}


@pytest.fixture
def files(tmp_path):
    """Writes judgments and run files; a run is a ranking a query."""

    def _write(judgments, **runs):
        qrels = tmp_path / "human.qrels"
        qrels.write_text("".join(f"{q} 0 {d} {grade}\n" for q, d, grade in judgments))
        paths = []
        for name, found in runs.items():
            path = tmp_path / f"{name}.trec"
            lines = [f"{q} Q0 {d} 0 {-rank} {name}\n" for q, docs in found.items() for rank, d in enumerate(docs)]
            path.write_text("".join(lines))
            paths.append(path)
        return qrels, paths

    return _write


def test_runs_are_measured_and_counted(files):
    judgments = [("q1", "a", 1), ("q1", "b", 0), ("q2", "a", 2), ("q3", "c", -1)]
    qrels, runs = files(judgments, one={"q1": ["x", "a"], "q2": ["a"]}, two={"q1": ["a"], "q3": ["c"], "q9": ["a"]})
    found = compare_runs(qrels, runs, ["MRR@10", "P(rel=2)@1"])
    (row,) = found.table.rows
    assert (row.name, row.queries, found.table.systems) == ("human.qrels", 3, ("one", "two"))
    means = {system: {m: one.value for m, one in by.items()} for system, by in row.means.items()}
    assert means["one"] == {"MRR@10": pytest.approx(0.5), "P(rel=2)@1": pytest.approx(1 / 3)}
    assert means["two"] == {"MRR@10": pytest.approx(1 / 3), "P(rel=2)@1": 0.0}
    assert found.remarks == [
        "one: 1 judged queries have no results and count as 0",
        "two: 1 judged queries have no results and count as 0, 1 of its queries have no judgment and do not count",
    ]


def test_runs_of_one_name_keep_their_paths(files, tmp_path):
    qrels, (run,) = files([("q", "a", 1)], one={"q": ["a"]})
    (tmp_path / "other").mkdir()
    again = tmp_path / "other" / "one.trec"
    again.write_bytes(run.read_bytes())
    assert compare_runs(qrels, [run, again], ["MAP"]).table.systems == (str(run), str(again))


def test_what_is_refused(files):
    qrels, (run, other) = files([("q", "a", 1)], one={"q": ["a"]}, other={"p": ["a"]})
    with pytest.raises(DataError, match=r"other\.trec: none of its queries has a judgment in .*human\.qrels"):
        compare_runs(qrels, [run, other], ["MAP"])
    with pytest.raises(ConfigError, match="'nDGC' is not a measure"):
        compare_runs(qrels, [run], ["nDGC@10"])
    qrels.write_text("q 0 a 0.5\n")
    with pytest.raises(DataError, match=r"grades must be whole numbers, got 0\.5 for q and a"):
        compare_runs(qrels, [run], ["MAP"])
    qrels.write_text("")
    with pytest.raises(DataError, match="contains no judgments"):
        compare_runs(qrels, [run], ["MAP"])


def test_published_runs_have_their_published_scores():
    data = os.environ.get("GRADRET_DATA")
    if not data:
        pytest.skip("GRADRET_DATA names no folder with trecdl19_judged")
    folder = Path(data) / "trecdl19_judged"
    runs = [folder / "runs" / f"{name}.top100.trec" for name in PUBLISHED]
    (row,) = compare_runs(folder / "qrels" / "test.tsv", runs, ["nDCG@10"]).table.rows
    found = {name.removesuffix(".top100"): round(means["nDCG@10"].value, 4) for name, means in row.means.items()}
    assert found == PUBLISHED
