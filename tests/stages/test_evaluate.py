"""Measures against loops written by hand, and every message of ``evaluate``."""

from __future__ import annotations

import math
import random
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ir_measures
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from gradret.config.run import Config, Evaluate
from gradret.errors import ConfigError, ContractError, DataError
from gradret.measures import compute_metrics, parse_measures
from gradret.stages import evaluate as module
from gradret.stages.evaluate import check_judgments, evaluate
from gradret.store import contracts
from gradret.store.artifacts import Artifact, make

Rows = list[dict[str, Any]]
Values = dict[tuple[str, str], float]

MEASURES = ("nDCG@10", "nDCG@3", "Recall@100", "Recall@2", "MRR@10", "MRR@2", "MAP", "judged@10", "P(rel=2)@5")


def artifact(storage: Path, stage: str, tables: Mapping[str, Rows]) -> Artifact:
    def _body(draft: Any) -> None:
        for name, rows in tables.items():
            draft.write(name, pa.Table.from_pylist(rows, contracts.schema(name)))

    return make(stage, str(storage), module=module.__name__, settings={"rows": dict(tables)}, inputs={}, body=_body)


def config(storage: Path, measures: Sequence[str] = MEASURES) -> Config:
    return Config(name="toy", dataset=None, storage_path=str(storage), evaluate=Evaluate(measures=tuple(measures)))


def queries(storage: Path, judgments: Mapping[str, Mapping[str, int]], split: str = "test") -> Artifact:
    qrels = [
        {"query_id": query_id, "doc_id": doc_id, "relevance": grade, "split": split}
        for query_id, docs in judgments.items()
        for doc_id, grade in docs.items()
    ]
    return artifact(storage, "queries", {"qrels": qrels})


def run(storage: Path, found: Mapping[str, Sequence[str]], scores: Sequence[float] = ()) -> Artifact:
    rows = [
        {"query_id": query_id, "doc_id": doc_id, "score": scores[rank - 1] if scores else -float(rank), "rank": rank}
        for query_id, docs in found.items()
        for rank, doc_id in enumerate(docs, 1)
    ]
    # Stored in any order: the rank decides.
    random.Random(7).shuffle(rows)
    return artifact(storage, "search", {"run": rows})


def values(metrics: Artifact) -> Values:
    return {(row["query_id"], row["measure"]): row["value"] for row in metrics.table("metrics").to_pylist()}


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """trec_eval's: the grade itself is the gain, over log2 of rank + 1."""
    gain = sum(max(0, grades.get(doc, 0)) / math.log2(rank + 1) for rank, doc in enumerate(ranking[:k], 1))
    best = sorted((max(0, grade) for grade in grades.values()), reverse=True)[:k]
    ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(best, 1))
    return gain / ideal if ideal else 0.0


def average_precision(ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    hits, total = 0, 0.0
    for rank, doc in enumerate(ranking, 1):
        if grades.get(doc, 0) > 0:
            hits += 1
            total += hits / rank
    relevant = sum(grade > 0 for grade in grades.values())
    return total / relevant if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    for rank, doc in enumerate(ranking[:k], 1):
        if grades.get(doc, 0) > 0:
            return 1 / rank
    return 0.0


def recall(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    relevant = {doc for doc, grade in grades.items() if grade > 0}
    return len(relevant & set(ranking[:k])) / len(relevant) if relevant else 0.0


def expected(ranking: Sequence[str], grades: Mapping[str, int]) -> dict[str, float]:
    return {
        "nDCG@10": ndcg(ranking, grades, 10),
        "nDCG@3": ndcg(ranking, grades, 3),
        "Recall@100": recall(ranking, grades, 100),
        "Recall@2": recall(ranking, grades, 2),
        "MRR@10": reciprocal_rank(ranking, grades, 10),
        "MRR@2": reciprocal_rank(ranking, grades, 2),
        "MAP": average_precision(ranking, grades),
        "judged@10": sum(doc in grades for doc in ranking[:10]) / len(ranking[:10]) if ranking else 0.0,
        "judged@3": sum(doc in grades for doc in ranking[:3]) / len(ranking[:3]) if ranking else 0.0,
        "P(rel=2)@5": sum(grades.get(doc, 0) >= 2 for doc in ranking[:5]) / 5,
    }


def toy(seed: int, count: int) -> tuple[dict[str, dict[str, int]], dict[str, list[str]]]:
    """Judgments with grades from -1 to 3, and rankings of some judged and some unjudged documents."""
    draw = random.Random(seed)
    docs = [f"d{number}" for number in range(30)]
    judgments = {
        f"q{number}": {doc: draw.choice([-1, 0, 0, 1, 2, 3]) for doc in draw.sample(docs, draw.randint(1, 12))}
        for number in range(count)
    }
    found = {query_id: draw.sample(docs, draw.randint(1, 30)) for query_id in judgments if query_id != "q3"}
    return judgments, found


@pytest.mark.parametrize("at_once", [2, 500])
def test_measures_equal_the_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr("gradret.measures._QUERIES_PER_BLOCK", at_once)
    judgments, found = toy(seed=1, count=9)
    got = values(evaluate(config(tmp_path), queries(tmp_path, judgments), run(tmp_path, found)))
    assert len(got) == 9 * (len(MEASURES) + 1)  # judged@3 comes beside nDCG@3
    for query_id, grades in judgments.items():
        for measure, value in expected(found.get(query_id, []), grades).items():
            assert got[query_id, measure] == pytest.approx(value, abs=1e-12), (query_id, measure)


needs_perl = pytest.mark.skipif(not shutil.which("perl"), reason="ir_measures computes ERR by a script in Perl")

ALL_MEASURES = [
    "nDCG@10", "nDCG", "AP", "AP(rel=2)", "AP(judged_only=True)@10", "Bpref", "infAP", "P@5", "RR", "R@10", "Rprec",
    "Success@1", "SetP", "SetF", "IPrec@0.1", "Judged@10", "NumRel", "ERR@10", "nDCG(dcg='exp-log2')@10", "Accuracy",
]  # fmt: skip


@needs_perl
def test_every_measure_is_that_of_ir_measures_for_the_same_files(tmp_path: Path) -> None:
    judgments, found = toy(seed=7, count=20)
    qrels, ranking = tmp_path / "qrels.txt", tmp_path / "run.trec"
    qrels.write_text("".join(f"{q[1:]} 0 {d} {g}\n" for q, docs in judgments.items() for d, g in docs.items()))
    ranking.write_text("".join(f"{q[1:]} Q0 {d} {n} {-n} x\n" for q, docs in found.items() for n, d in enumerate(docs)))
    parsed = parse_measures(ALL_MEASURES)
    theirs = ir_measures.iter_calc(
        list(parsed.values()), ir_measures.read_trec_qrels(str(qrels)), ir_measures.read_trec_run(str(ranking))
    )
    by_measure = {measure: spelling for spelling, measure in parsed.items()}
    got = values(evaluate(config(tmp_path, ALL_MEASURES), queries(tmp_path, judgments), run(tmp_path, found)))
    compared = 0
    for one in theirs:
        assert got[f"q{one.query_id}", by_measure[one.measure]] == pytest.approx(one.value, abs=1e-9, nan_ok=True), one
        compared += 1
    assert compared >= 19 * (len(ALL_MEASURES) - 1)


def test_a_grade_of_minus_1_is_pooled_and_not_judged(tmp_path: Path) -> None:
    given = queries(tmp_path, {"q": {"unjudged": -1, "relevant": 1, "not": 0}})
    measures = ["Bpref", "AP(judged_only=True)"]
    got = evaluate(config(tmp_path, measures), given, run(tmp_path, {"q": ["unjudged", "relevant", "not"]}))
    assert set(values(got).values()) == {1.0}


@needs_perl
def test_ids_with_blanks_are_measured_by_every_provider(tmp_path: Path) -> None:
    given = queries(tmp_path, {"a q": {"d 1": 1, "d%201": 0}})
    got = values(evaluate(config(tmp_path, ["ERR@10", "RR"]), given, run(tmp_path, {"a q": ["d%201", "d 1"]})))
    assert got == {("a q", "ERR@10"): pytest.approx(1 / 16 / 2, abs=1e-5), ("a q", "RR"): 0.5}


@needs_perl
@pytest.mark.parametrize("measure", ["ERR@10", "nDCG(dcg='exp-log2')@10"])
def test_grades_that_a_measure_cannot_take_are_refused(tmp_path: Path, measure: str) -> None:
    said = re.escape(f"{measure} supports grades up to 4; query 'q' has 5 for document 'd'; remove {measure} from")
    with pytest.raises(DataError, match=said):
        check_judgments(config(tmp_path, ["nDCG@10", measure]), queries(tmp_path, {"q": {"d": 5, "e": 4}}))
    check_judgments(config(tmp_path, ["nDCG@10"]), queries(tmp_path, {"q": {"d": 5}}))


def test_ties_in_the_score_change_nothing(tmp_path: Path) -> None:
    judgments, found = {"q": {"b": 1, "a": 0}}, {"q": ["b", "c", "a"]}
    got = values(evaluate(config(tmp_path), queries(tmp_path, judgments), run(tmp_path, found, scores=[0.5] * 3)))
    assert got["q", "nDCG@10"] == got["q", "MRR@10"] == got["q", "MAP"] == 1.0


def test_spelling_and_order_of_the_config_are_kept(tmp_path: Path) -> None:
    measures = ["MAP", "AP", "RR@10", "MRR@10", "MAP", "JUDGED@1"]
    assert list(parse_measures(measures)) == ["MAP", "AP", "RR@10", "MRR@10", "JUDGED@1"]
    got = evaluate(config(tmp_path, measures), queries(tmp_path, {"q": {"a": 1}}), run(tmp_path, {"q": ["x", "a"]}))
    assert values(got) == {
        ("q", "AP"): 0.5,
        ("q", "JUDGED@1"): 0.0,
        ("q", "MAP"): 0.5,
        ("q", "MRR@10"): 0.5,
        ("q", "RR@10"): 0.5,
    }


def test_judged_comes_beside_every_ndcg_that_has_a_cutoff() -> None:
    assert list(parse_measures(["nDCG@10", "MAP", "nDCG@20", "nDCG"])) == [
        "nDCG@10", "MAP", "nDCG@20", "nDCG", "judged@10", "judged@20",
    ]  # fmt: skip
    assert list(parse_measures(["Judged@10", "nDCG@10"])) == ["Judged@10", "nDCG@10"]
    assert list(parse_measures(["MAP", "P@5"])) == ["MAP", "P@5"]


def test_every_judged_test_query_counts_and_no_other(tmp_path: Path) -> None:
    given = queries(tmp_path, {"found": {"a": 1}, "nothing": {"a": 2}, "none relevant": {"a": 0}})
    got = evaluate(config(tmp_path, ["MAP"]), given, run(tmp_path, {"found": ["a"], "other": ["a"]}))
    assert values(got) == {("found", "MAP"): 1.0, ("nothing", "MAP"): 0.0, ("none relevant", "MAP"): 0.0}
    assert got.counts == {"judged_queries": 3, "without_results": 2, "rows_out": 3, "unjudged_queries": 1}


def test_an_empty_run_and_no_test_judgments(tmp_path: Path) -> None:
    nothing = run(tmp_path, {})
    assert values(evaluate(config(tmp_path, ["MAP"]), queries(tmp_path, {"q": {"a": 1}}), nothing)) == {("q", "MAP"): 0}
    trained = queries(tmp_path, {"q": {"a": 1}}, split="train")
    assert values(evaluate(config(tmp_path, ["MAP"]), trained, nothing)) == {}


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("nDGC@10", "evaluate.measures: 'nDGC@10': 'nDGC' is not a measure of ir_measures; did you mean 'nDCG'?"),
        ("@10", "evaluate.measures: '@10': '@10' is not a measure"),
        ("nDCG@ten", "evaluate.measures: 'nDCG@ten': parameters are missing or invalid"),
        ("nDCG(depth=3)", "evaluate.measures: 'nDCG(depth=3)': parameters are missing or invalid"),
        ("P", "evaluate.measures: 'P': parameters are missing or invalid"),
        ("P@0", "evaluate.measures: 'P@0': the cutoff must be a whole number of at least 1, got 0"),
        ("RBP", "evaluate.measures: 'RBP': no installed package computes it"),
    ],
)
def test_a_wrong_measure_is_refused(tmp_path: Path, spelling: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_measures([spelling])
    with pytest.raises(ConfigError, match=re.escape(message.removeprefix("evaluate."))):
        config(tmp_path, [spelling])


def test_all_wrong_measures_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)2 errors.*'foo@1'.*'bar'"):
        parse_measures(["foo@1", "MAP", "bar"])


def test_no_measure_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.measures: must not be empty"):
        parse_measures([])


def test_shards_are_measured_one_after_the_other(tmp_path: Path) -> None:
    judgments, found = toy(seed=2, count=6)
    rows = run(tmp_path, found).table("run")
    halves = [
        rows.filter(pc.is_in(rows["query_id"], pa.array(ids))) for ids in (["q0", "q4"], ["q1", "q2", "q5", "q9"])
    ]
    whole, counts = compute_metrics(parse_measures(MEASURES), judgments, [rows], "run")
    parted, again = compute_metrics(parse_measures(MEASURES), judgments, halves, "run")
    assert whole == parted
    assert counts == again
    with pytest.raises(ContractError, match="run: the rows of query 'q0' are split over two parts"):
        compute_metrics(parse_measures(MEASURES), judgments, [*halves, halves[0]], "run")


@needs_perl
def test_ids_that_are_no_numbers_and_a_package_that_takes_none(tmp_path: Path) -> None:
    # Chapelle et al. (2009): a grade of 1 on a scale to 4 satisfies with probability (2^1 - 1) / 2^4.
    given = queries(tmp_path, {"a query": {"b": 1, "z": 2}, "nothing": {"a": 4}})
    got = evaluate(config(tmp_path, ["ERR@10", "MAP"]), given, run(tmp_path, {"a query": ["x", "b"]}))
    assert values(got) == {
        ("a query", "ERR@10"): pytest.approx(1 / 16 / 2, abs=1e-5),
        ("a query", "MAP"): 0.25,
        ("nothing", "ERR@10"): 0.0,
        ("nothing", "MAP"): 0.0,
    }


def test_a_package_that_fails_is_an_error_of_the_config(tmp_path: Path) -> None:
    given = queries(tmp_path, {"q": {"a": 1}})
    with pytest.raises(ConfigError, match=r"ZeroDivisionError.*remove one of Accuracy@10, AP"):
        evaluate(config(tmp_path, ["Accuracy@10", "AP"]), given, run(tmp_path, {"q": ["a"]}))


def test_a_document_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="query 'q' lists document 'a' twice"):
        evaluate(config(tmp_path), queries(tmp_path, {"q": {"a": 1}}), run(tmp_path, {"q": ["a", "b", "a"]}))
