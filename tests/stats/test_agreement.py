"""Agreement against loops, scikit-learn and the files of real judges."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from gradret.cli import main
from gradret.errors import DataError
from gradret.judgments import read_qrels
from gradret.stats.agreement import agreement, graded_alike, teacher_agreement, terminal_text
from gradret.store import contracts
from gradret.store.artifacts import Artifact, make


def judged(grades):
    return {(f"q{n % 7}", f"d{n}"): grade for n, grade in enumerate(grades)}


def drawn(seed, size=200):
    draw = random.Random(seed)
    human = [draw.choice([0, 0, 0, 1, 2, 3]) for _ in range(size)]
    other = [grade if draw.random() < 0.4 else draw.randrange(4) for grade in human]
    return human, other


def by_loops(human, other, disagreement):
    """Kappa by its definition: the disagreement over what shuffled judgments would have."""
    seen = sum(disagreement(a, b) for a, b in zip(human, other, strict=True)) / len(human)
    by_chance = sum(disagreement(a, b) for a in human for b in other) / len(human) ** 2
    return 1 - seen / by_chance


def tau_b(human, other):
    """Kendall's definition, pair by pair."""
    concordant = ties_human = ties_other = 0
    pairs = list(itertools.combinations(zip(human, other, strict=True), 2))
    for (a, b), (c, d) in pairs:
        ties_human += a == c
        ties_other += b == d
        concordant += (a > c) - (a < c) if b > d else (a < c) - (a > c) if b < d else 0
    return concordant / ((len(pairs) - ties_human) * (len(pairs) - ties_other)) ** 0.5


def rank_correlation(human, other):
    """Pearson's of mid-ranks."""
    ranks = [[sum(b < a for b in side) + (side.count(a) + 1) / 2 for a in side] for side in (human, other)]
    middle = (len(human) + 1) / 2
    x, y = ([rank - middle for rank in side] for side in ranks)
    return sum(a * b for a, b in zip(x, y, strict=True)) / (sum(a * a for a in x) * sum(b * b for b in y)) ** 0.5


@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_its_definition(seed):
    human, other = drawn(seed)
    found = agreement(judged(human), judged(other))
    assert found.pairs == 200
    assert found.kappa == pytest.approx(by_loops(human, other, lambda a, b: a != b), abs=1e-12)
    assert found.quadratic_kappa == pytest.approx(by_loops(human, other, lambda a, b: (a - b) ** 2), abs=1e-12)
    for least in (1, 2):
        expected = by_loops(human, other, lambda a, b, t=least: (a >= t) != (b >= t))
        assert found.binary_kappa[least] == pytest.approx(expected, abs=1e-12)
    assert found.kendall_tau == pytest.approx(tau_b(human, other), abs=1e-12)
    assert found.spearman == pytest.approx(rank_correlation(human, other), abs=1e-12)
    assert found.kappa == pytest.approx(cohen_kappa_score(human, other), abs=1e-12)
    assert found.quadratic_kappa == pytest.approx(cohen_kappa_score(human, other, weights="quadratic"), abs=1e-12)
    assert [list(row) for row in found.confusion] == confusion_matrix(human, other).tolist()


def test_scores_become_grades_as_frequent_as_the_human_ones():
    draw = random.Random(1)
    human, _ = drawn(1)
    scores = [draw.gauss(grade, 1) for grade in human]
    found = graded_alike(judged(human), judged(scores) | {("q0", "unjudged"): 99.0})
    ranked = sorted(range(200), key=lambda n: scores[n])
    assert found == {(f"q{n % 7}", f"d{n}"): grade for n, grade in zip(ranked, sorted(human), strict=True)}


def test_equal_scores_become_the_grade_in_the_middle_of_their_places():
    #                       places  1    2 - 4          5 - 6      7
    scores = judged([-5.0, 0.5, 0.5, 0.5, 2.0, 2.0, 7.5])
    found = graded_alike(judged([0, 0, 1, 1, 2, 3, 3]), scores)
    assert list(found.values()) == [0, 1, 1, 1, 3, 3, 3]  # between 5 and 6 the higher
    with pytest.raises(DataError, match="have no pair of query and document in common"):
        graded_alike(judged([1]), {("q9", "d9"): 1.0})


def test_distance_is_between_grades_not_between_those_that_occur():
    human, other = [0, 0, 3, 3, 4, 4], [0, 3, 3, 0, 4, 3]
    found = agreement(judged(human), judged(other))
    assert found.grades == (0, 3, 4)
    assert found.quadratic_kappa == pytest.approx(by_loops(human, other, lambda a, b: (a - b) ** 2))


def test_only_pairs_in_common_count():
    human, other = drawn(5)
    both = agreement(judged(human), judged(other))
    assert agreement(judged(human) | {("q", "x"): 3}, judged(other) | {("q", "y"): 0}) == both


def test_an_expectation_becomes_a_grade_of_the_human_scale():
    human = {("q", "a"): 3, ("q", "b"): 2, ("q", "c"): 0, ("q", "d"): 1, ("q", "elsewhere"): 4}
    shares = {("q", "a"): 0.6249, ("q", "b"): 0.625, ("q", "c"): 0.125, ("q", "d"): 1.0}
    found = agreement(human, shares)
    # Times 4: 2.4996, 2.5, 0.5 and 4.
    graded = agreement(human, {("q", "a"): 2, ("q", "b"): 3, ("q", "c"): 1, ("q", "d"): 4})
    assert (found.share_of, graded.share_of) == (4, None)
    assert (found.confusion, found.grades, found.kappa) == (graded.confusion, graded.grades, graded.kappa)
    assert found.kendall_tau == pytest.approx(tau_b([3, 2, 0, 1], [0.6249, 0.625, 0.125, 1.0]))


def test_scores_on_no_scale_have_an_order_and_no_grades():
    found = agreement(judged([0, 1, 2, 3]), judged([-1.5, 0.2, 0.1, 7.3]))
    assert (found.kappa, found.quadratic_kappa, found.binary_kappa) == (None, None, {1: None, 2: None})
    assert (found.grades, found.confusion) == ((), ())
    assert found.kendall_tau == pytest.approx(4 / 6)


def test_what_cannot_be_computed_is_none():
    one = agreement(judged([1, 1, 1]), judged([1, 1, 1]))
    assert (one.kappa, one.quadratic_kappa, one.kendall_tau, one.spearman) == (None, None, None, None)
    constant = agreement(judged([1, 1, 1]), judged([0, 1, 2]))
    assert (constant.kappa, constant.binary_kappa[2], constant.spearman) == (0, 0, None)


def test_what_is_no_judgment_of_the_same_is_refused():
    with pytest.raises(DataError, match="the 2 and 1 judgments have no pair of query and document in common"):
        agreement(judged([1, 2]), {("other", "d"): 1})
    with pytest.raises(DataError, match=r"human grades must be whole numbers, got 0\.5 for query q1, document d1"):
        agreement(judged([1, 0.5]), judged([1, 2]))


def test_both_layouts_of_qrels_are_read(tmp_path):
    trec, beir = tmp_path / "a.txt", tmp_path / "b.tsv"
    trec.write_text("q1 0 d1 2\nq1\tQ0\td2\t-1\r\n\n")
    beir.write_text("﻿query-id\tcorpus-id\tscore\nq 1\td 1\t0.25\nq2\td2\t1", encoding="utf-8")
    assert read_qrels(trec) == {("q1", "d1"): 2, ("q1", "d2"): -1}
    assert read_qrels(beir) == {("q 1", "d 1"): 0.25, ("q2", "d2"): 1}


def test_of_two_judgments_of_a_pair_the_last_counts(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text("q1 0 d1 0\nq1 0 d2 1\nq1 0 d1 2\nq1 0 d2 1\n")
    assert read_qrels(path) == {("q1", "d1"): 2, ("q1", "d2"): 1}
    said = capsys.readouterr().err
    assert f"{path}: 1 pairs are judged twice, with different grades; the last judgment counts" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q1 0 d1 2\nq1 0 d2\n", ":2: expected 'query_id iteration doc_id relevance'"),
        ("q1 0 d1 two\n", ":1: expected"),
        ("q1 0 d1 nan\n", ":1: expected"),
        ("q\td\t1\nquery-id\tcorpus-id\tscore\n", ":2: expected"),
        ("q1 Q0 d1 1 15.7 BM25\n", ":1: expected"),
        ("q1 0 d1 1_0\n", ":1: expected"),
        ("query-id\tcorpus-id\tscore\nq1\t0\td1\t1\n", ":2: expected the header's 3 columns, got"),
        ("q\udcff", ":1: not UTF-8"),
        (None, " cannot be read: No such file"),
        ("", "in common"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(tmp_path, capsys, text, said):
    human, other = tmp_path / "human.txt", tmp_path / "other.txt"
    human.write_text("q1 0 d1 1\n")
    if text is not None:
        other.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main(["agreement", str(human), str(other)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"gradret: {other}")
    assert err.count("\n") == 1
    assert said in err


def test_the_command_prints_each_file(tmp_path, capsys):
    human, others = drawn(3)
    files = [tmp_path / name for name in ("human.txt", "one.txt", "two.txt")]
    for file, grades in zip(files, (human, others, human), strict=True):
        file.write_text("".join(f"{q} 0 {d} {grade}\n" for (q, d), grade in judged(grades).items()))
    assert main(["agreement", *map(str, files), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [str(file) for file in files[1:]]
    assert found[str(files[1])]["kappa"] == pytest.approx(by_loops(human, others, lambda a, b: a != b))
    assert found[str(files[2])]["kappa"] == 1
    assert found[str(files[2])]["confusion"] == [
        [human.count(row) * (row == column) for column in range(4)] for row in range(4)
    ]
    assert main(["agreement", *map(str, files)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["pairs", "kappa", "quadratic", "kappa", ">=1", "kappa", ">=2", "Kendall", "Spearman"]
    assert lines[2].split() == ["two.txt", "200", *["1.0000"] * 6]
    assert lines[-4].split() == ["0", str(human.count(0)), "0", "0", "0"]


def test_the_text_says_how_shares_became_grades():
    text = terminal_text({"a/judge.txt": agreement(judged([0, 1, 3]), judged([0.1, 0.4, 0.9]))})
    assert "judge.txt: rows are human grades, columns are the file's (score * 3, rounded)" in text


def artifact(storage: Path, stage, **tables) -> Artifact:
    def _body(draft):
        for name, rows in tables.items():
            for shard, part in enumerate((rows[::2], rows[1::2])):
                draft.write(name, pa.Table.from_pylist(part, contracts.schema(name)), shard)

    return make(stage, str(storage), module="gradret.store.artifacts", settings=tables, inputs={}, body=_body)


def test_a_teacher_is_held_against_training_judgments_alone(tmp_path):
    human, other = drawn(11, 60)
    qrels = [
        {"query_id": q, "doc_id": d, "relevance": grade, "split": "dev" if n % 3 else "train"}
        for n, ((q, d), grade) in enumerate(judged(human).items())
    ]
    tests = [{"query_id": q, "doc_id": f"t{d}", "relevance": 1, "split": "test"} for q, d in judged(human)]
    scores = [(q, d, grade / 3 * 0.999) for (q, d), grade in judged(other).items()]
    scores += [(q, f"t{d}", 0.0) for q, d in judged(human)] + [("written", "d1", 0.5)]
    labels = [
        {"pair_id": f"{q} {d}", "query_id": q, "doc_id": d, "source": "judge", "score": score} for q, d, score in scores
    ]
    found = teacher_agreement(
        artifact(tmp_path, "label", labels=labels), artifact(tmp_path, "queries", qrels=qrels + tests)
    )
    assert found is not None
    assert (found.pairs, found.share_of) == (60, 3)
    assert found.kappa == pytest.approx(by_loops(human, other, lambda a, b: a != b))
    only = artifact(tmp_path, "queries", qrels=tests)
    assert teacher_agreement(artifact(tmp_path, "label", labels=labels), only) is None
