"""The teacher check on collections whose verdict is known by construction.

Query N has two relevant documents: document N, of grade 2, and document N + 1, of grade 1.
"""

import json
import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import cohen_kappa_score

from gradret.errors import DataError
from gradret.report.check import terminal_text
from gradret.retrievers import Retriever
from gradret.stages.check import check
from gradret.stages.queries import queries as queries_stage
from gradret.stages.verdict import as_data, check_result, outcome, require, sentence, skipped
from gradret.teachers import Teacher as TeacherProtocol

from . import tiny

pytestmark = pytest.mark.usefixtures("ray_session")

SIZE = 40


@dataclass(frozen=True)
class Turned(Retriever):
    """A retriever that starts ``(query's number % spread)`` documents before the query's own, and goes round."""

    spread: int = 5
    k: int = 100
    blind: bool = False
    """Leave out document N of every query N that is even."""

    def prepare(self, config, ingested, queries):
        return {"docs": ingested}

    def load(self, prepared, seed):
        size = prepared["docs"].table("docs").num_rows
        return lambda queries: [self._found(int(query["query_id"][1:]), size) for query in queries]

    def _found(self, number, size):
        around = [(number - number % self.spread + step) % size for step in range(size)]
        if self.blind and number % 2 == 0:
            around.remove(number)
        return [(f"d{doc:03d}", rank) for rank, doc in enumerate(around[: self.k], 1)]


@dataclass(frozen=True)
class Knowing(TeacherProtocol):
    """A teacher that knows the grades and gives ``sign`` times them; for ``wrong`` queries the other way round."""

    sign: float = 1.0
    wrong: tuple[int, ...] = ()
    silent: str = ""
    reranks: bool = True
    depth: int = 0

    searches = False
    asks_llm = False

    def prepare(self, config, ingested, queries):
        return {}

    def load(self, prepared):
        return self

    def score(self, queries, doc_ids):
        return [
            np.array([self._score(int(query["query_id"][1:]), doc_id) for doc_id in listed], np.float32)
            for query, listed in zip(queries, doc_ids, strict=True)
        ]

    def _score(self, number, doc_id):
        if doc_id == self.silent:
            return math.nan
        sign = -self.sign if number in self.wrong else self.sign
        return sign * {number: 2, number + 1: 1}.get(int(doc_id[1:]), 0)


@dataclass(frozen=True)
class Useless(Knowing):
    """A teacher that cannot score any pair."""

    reranks: bool = False


@pytest.fixture(autouse=True)
def sent_with_the_tests():
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def world(beir, config, tmp_path):
    """Runs the check on a collection; keyword arguments are of the retriever, the teacher and ``check``."""

    def run(qrels, name="data", retriever=None, teacher=None, generated=(), texts="query", **keys):
        split = keys.pop("split", "test")
        seed = keys.pop("seed", 0)
        folder = beir(
            docs=[{"_id": f"d{n:03d}", "title": "", "text": f"text {n}"} for n in range(SIZE)],
            queries=[{"_id": f"q{n:03d}", "text": f"{texts} {n}"} for n in range(SIZE)],
            qrels=qrels | ({} if split in qrels else {split: judged([SIZE - 1])}),
            name=name,
        )
        settings = config(
            folder,
            seed=seed,
            dataset={"split": split},
            check={"retriever": {"name": "tests.stages.test_check:Turned", **(retriever or {})}, **keys},
            label={"teacher": {"name": "tests.stages.test_check:Knowing", **(teacher or {})}},
        )
        ingested = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(n, f"text {n}") for n in range(SIZE)]]})
        written = tiny.artifact(tmp_path, "generate", {"queries": [list(generated)]})
        return settings, check(settings, ingested, written)

    return run


def judged(numbers, grade=2):
    """Judgments of these queries: their own document, the next one, and one that is not relevant."""
    rows = []
    for n in numbers:
        rows += [(f"q{n:03d}", f"d{n:03d}", grade), (f"q{n:03d}", f"d{(n + 1) % SIZE:03d}", 1)]
        rows += [(f"q{n:03d}", f"d{(n + 9) % SIZE:03d}", 0)]
    return rows


def ndcg(places):
    """nDCG@10 of relevant documents of grades 2 and 1 at these places, counted from 1."""
    gains = [gain / math.log2(1 + place) for gain, place in zip((2, 1), places, strict=True) if place <= 10]
    return sum(gains) / (2 + 1 / math.log2(3))


def sampled(made, storage):
    """Queries of the sample and their judgments, as they are on disk."""
    import pyarrow.parquet as pq

    folder = storage / "artifacts" / made.manifest["inputs"]["queries"]
    return (pq.read_table(folder / name).to_pylist() for name in ("queries", "qrels"))


def test_a_teacher_that_knows_beats_its_retriever(world):
    settings, made = world({"dev": judged(range(30))})
    result = check_result(made)
    before = [ndcg([1 + n % 5, 2 + n % 5]) for n in range(30)]
    assert (result.sample, result.queries, result.drawn, result.unscored) == ("dev", 30, 30, 0)
    assert result.retriever_ndcg == pytest.approx(np.mean(before), abs=1e-6)
    assert result.teacher_ndcg == pytest.approx(1)
    assert result.difference == pytest.approx(1 - np.mean(before), abs=1e-6)
    assert result.p == pytest.approx(ttest_rel(np.ones(30), before).pvalue, rel=1e-3)
    draws = np.random.default_rng(5).choice(1 - np.array(before), (20000, 30)).mean(axis=1)
    assert [result.low, result.high] == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.01)
    assert result.judged_pairs == 90
    assert (result.kappa, result.kendall_tau, result.spearman) == pytest.approx((1, 1, 1))
    assert outcome(result) == "better"
    require(settings, made)
    assert sentence(made).startswith("The teacher tests.stages.test_check:Knowing ranks better than the retriever ")
    assert "on 30 queries judged in the dataset's split dev." in sentence(made)


def test_a_teacher_that_ranks_worse_stops_the_run_unless_told_to_go_on(world):
    settings, made = world({"dev": judged(range(30))}, teacher={"sign": -1.0})
    result = check_result(made)
    before = np.mean([ndcg([1 + n % 5, 2 + n % 5]) for n in range(30)])
    # Last and last but one of 40 documents: no gain in the first ten.
    assert (result.retriever_ndcg, result.teacher_ndcg) == pytest.approx((before, 0), abs=1e-6)
    assert result.difference == pytest.approx(-before, abs=1e-6)
    assert (result.kendall_tau, result.spearman) == pytest.approx((-1, -1))
    with pytest.raises(DataError) as stopped:
        require(settings, made)
    said = str(stopped.value)
    for part in (
        "ranks no better than the retriever tests.stages.test_check:Turned",
        f"nDCG@10 0.000 against {before:.3f} (-{before:.3f}, p < 0.001) on 30 queries",
        "Tamber et al.",
        "FEVER, Climate-FEVER, SciDocs and ArguAna",
        "label.teacher",
        "check.stop=false",
    ):
        assert part in said
    settings, again = world({"dev": judged(range(30))}, teacher={"sign": -1.0}, stop=False)
    assert again.path == made.path  # whether it stops decides no number
    require(settings, again)
    assert sentence(again).startswith("WARNING: ")


def test_a_teacher_that_is_its_retriever_again_is_no_better(world):
    # The retriever begins with the relevant documents, so both orders are the same.
    settings, made = world({"dev": judged(range(30))}, retriever={"spread": 1})
    result = check_result(made)
    assert (result.retriever_ndcg, result.difference, result.p) == (1, 0, 1)
    with pytest.raises(DataError, match="ranks no better than"):
        require(settings, made)


def test_better_by_chance_goes_on_and_says_so(world):
    # 27 queries gain a little, if anything, and 3 lose all.
    wrong = [n for n in range(30) if n % 5 == 4][:3]
    settings, made = world({"dev": judged(range(30))}, teacher={"wrong": wrong}, retriever={"spread": 2})
    result = check_result(made)
    before = np.array([ndcg([1 + n % 2, 2 + n % 2]) for n in range(30)])
    after = np.array([0.0 if n in wrong else 1.0 for n in range(30)])
    assert result.difference == pytest.approx((after - before).mean(), abs=1e-6)
    assert result.difference > 0
    assert result.p == pytest.approx(ttest_rel(after, before).pvalue, rel=1e-3)
    assert result.p > 0.05
    assert outcome(result) == "better, not significant"
    require(settings, made)
    assert "not significantly so" in sentence(made)


def test_a_teacher_that_scores_few_documents_reranks_those(world):
    """Both sides get the first five documents, which lack the second relevant one of every fifth query."""
    _, made = world({"dev": judged(range(30))}, teacher={"depth": 5})
    result, missing = check_result(made), 11
    found = [n % 5 < 4 for n in range(30)]
    before = [ndcg((n % 5 + 1, n % 5 + 2 if both else missing)) for n, both in enumerate(found)]
    assert result.retriever_ndcg == pytest.approx(np.mean(before))
    assert result.teacher_ndcg == pytest.approx(np.mean([ndcg((1, 2 if both else missing)) for both in found]))


def test_few_queries_stop_a_run_only_if_the_loss_is_significant(world):
    settings, made = world({"dev": judged(range(19))}, teacher={"sign": -1.0})
    with pytest.raises(DataError, match="These are too few queries to tell"):
        require(settings, made)
    settings, made = world({"dev": judged(range(3))}, name="b", teacher={"wrong": [0, 2]}, retriever={"spread": 2})
    result = check_result(made)
    assert result.difference < 0
    assert result.p > 0.05
    require(settings, made)
    assert "These are too few queries to tell" in sentence(made)
    settings, made = world({"dev": judged([1])}, name="c", teacher={"sign": -1.0})
    assert (check_result(made).low, check_result(made).p) == (None, None)
    require(settings, made)
    assert "p unknown" in sentence(made)


def test_agreement_with_human_grades(world, tmp_path):
    # A teacher that is wrong about every second query.
    wrong = list(range(0, 30, 2))
    _, made = world({"dev": judged(range(30))}, teacher={"wrong": wrong})
    result = check_result(made)
    human = [grade for _ in range(30) for grade in (2, 1, 0)]
    scores = [(-1 if n in wrong else 1) * grade for n in range(30) for grade in (2, 1, 0)]
    # As many of each grade as the humans gave, equal scores alike: the grade in the middle of their places.
    order = sorted(scores)
    middle = {score: order.index(score) + (order.count(score) - 1) / 2 for score in scores}
    grades = [sorted(human)[math.ceil(middle[score])] for score in scores]
    assert result.kappa == pytest.approx(cohen_kappa_score(human, grades), abs=1e-9)
    assert -1 < result.kendall_tau < 1


def test_pairs_without_a_score_are_left_out_and_counted(world):
    _, made = world({"dev": judged(range(30))}, teacher={"silent": "d004"})
    result = check_result(made)
    assert result.unscored == 30
    # Query 4 has lost its best document, query 3 its second.
    after = [1.0] * 28 + [2 / (2 + 1 / math.log2(3)), (1 / 1) / (2 + 1 / math.log2(3))]
    assert result.teacher_ndcg == pytest.approx(np.mean(after), abs=1e-6)
    assert "30  pairs, left out of the teacher's ranking" in terminal_text(made)


def test_dev_queries_are_taken_before_training_queries_and_never_evaluated_ones(world, tmp_path):
    qrels = {"dev": judged([1, 2, 3, 4]), "train": judged([4, 5, 6]), "test": judged([2, 6, 7])}
    # Nothing relevant; no such query; judged a second time, which counts.
    qrels["dev"] = [("q003", "d003", 0), *qrels["dev"], ("q030", "d000", 0), ("q099", "d001", 1)]
    _, made = world(qrels)
    rows, grades = sampled(made, tmp_path / "storage")
    assert [row["query_id"] for row in rows] == ["q001", "q003", "q004"]
    assert {(row["query_id"], row["doc_id"], row["relevance"]) for row in grades} == set(judged([1, 3, 4]))
    assert check_result(made).sample == "dev"
    del qrels["dev"]
    _, made = world(qrels, name="train")
    rows, _ = sampled(made, tmp_path / "storage")
    assert [row["query_id"] for row in rows] == ["q004", "q005"]
    assert check_result(made).sample == "train"
    # Evaluated on dev: its queries are for that alone.
    qrels = {"dev": judged([1, 2]), "train": judged([2, 3])}
    _, made = world(qrels, name="on_dev", split="dev")
    rows, _ = sampled(made, tmp_path / "storage")
    assert [row["query_id"] for row in rows] == ["q003"]


def test_at_most_so_many_drawn_by_seed_and_query_id(world, tmp_path):
    def drawn(name, numbers, **keys):
        _, made = world({"dev": judged(numbers)}, name=name, queries=8, **keys)
        return [row["query_id"] for row in next(iter(sampled(made, tmp_path / "storage")))]

    first = drawn("a", range(30))
    assert len(set(first)) == 8
    assert drawn("b", range(29, -1, -1)) == first  # not by their order
    assert drawn("c", range(30), seed=1) != first
    left = set(drawn("d", [n for n in range(30) if f"q{n:03d}" != first[0]]))
    assert len(left & set(first)) == 7  # one that goes lets one other in


def test_generated_queries_whose_source_the_retriever_finds(world, tmp_path):
    written = [tiny.query(n, f"about {n}", source=f"d{n:03d}") for n in range(30)] + [tiny.query(35, "no source")]
    settings, made = world({}, generated=written, retriever={"blind": True}, teacher={"wrong": [1]})
    result = check_result(made)
    assert (result.sample, result.drawn, result.queries, result.judged_pairs) == ("generated", 30, 15, 0)
    rows, grades = sampled(made, tmp_path / "storage")
    assert [row["query_id"] for row in rows] == [f"q{n:03d}" for n in range(1, 30, 2)]
    assert {(row["query_id"], row["doc_id"], row["relevance"]) for row in grades} == {
        (f"q{n:03d}", f"d{n:03d}", 1) for n in range(1, 30, 2)
    }
    assert result.retriever_ndcg == pytest.approx(
        np.mean([1 / math.log2(2 + n % 5) for n in range(1, 30, 2)]), abs=1e-6
    )
    assert result.teacher_ndcg == pytest.approx(14 / 15, abs=1e-6)
    assert result.kappa is None
    assert "15 of 30 generated queries, those whose source document" in sentence(made)
    require(settings, made)


def test_only_the_first_hundred_documents_are_ranked(world, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SIZE", 130)
    _, made = world({"dev": judged(range(100, 125))}, retriever={"spread": 125, "k": 130})
    # Documents 0 to 99 come first: none of the relevant ones.
    assert (check_result(made).retriever_ndcg, check_result(made).teacher_ndcg) == (0, 0)
    written = [tiny.query(n, "a", source=f"d{n:03d}") for n in range(100, 110)]
    _, made = world({}, name="b", generated=written, retriever={"spread": 125, "k": 130})
    assert "does not find the source document" in skipped(made)


@pytest.mark.parametrize(
    ("keys", "generated", "reason"),
    [
        ({"queries": 0}, [], "check.queries is 0"),
        ({"teacher": {"name": "tests.stages.test_check:Useless"}}, [], "cannot score arbitrary pairs"),
        ({}, [], "there is no judged query and no generated query with a source document"),
        ({}, [tiny.query(1, "a")], "there is no judged query"),
        (
            {"retriever": {"k": 1, "blind": True}},
            [tiny.query(2, "a", source="d002")],
            "does not find the source document",
        ),
    ],
)
def test_what_cannot_be_checked_is_skipped_with_the_reason(world, keys, generated, reason):
    settings, made = world({}, generated=generated, **keys)
    assert reason in skipped(made)
    assert check_result(made) is None
    assert as_data(made) == {"skipped": skipped(made)}
    assert sentence(made) == terminal_text(made) == f"The teacher was not checked: {skipped(made)}."
    require(settings, made)


def test_poisoned_test_queries_and_judgments_change_nothing(world, beir, config, tmp_path):
    train, test = judged(range(20)), judged(range(20, 30))
    clean, made = world({"train": train, "test": test})
    poison = [(query_id, f"d{(int(doc_id[1:]) + 7) % SIZE:03d}", 3 - grade) for query_id, doc_id, grade in test]
    poisoned, again = world({"train": train, "test": poison}, name="poisoned")
    assert again.path == made.path
    text = (tmp_path / "poisoned" / "queries.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in text]
    rows = [row | ({"text": "poison"} if int(row["_id"][1:]) >= 20 else {}) for row in rows]
    (tmp_path / "poisoned" / "queries.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(n, f"text {n}") for n in range(SIZE)]]})
    again = check(poisoned, ingested, tiny.artifact(tmp_path, "generate", {"queries": [[]]}))
    assert again.path == made.path
    assert queries_stage(clean, ingested).path != queries_stage(poisoned, ingested).path  # the poison is real


def test_numbers_for_programs_and_for_the_terminal(world):
    _, made = world({"dev": judged(range(30))})
    data = json.loads(json.dumps(as_data(made)))
    assert data["outcome"] == "better"
    assert data["teacher_ndcg"] - data["retriever_ndcg"] == pytest.approx(data["difference"])
    lines = terminal_text(made).splitlines()
    assert lines[0].split() == ["30", "queries", "nDCG@10"]
    assert [line.split()[-1] for line in lines[1:3]] == [f"{data['retriever_ndcg']:.4f}", f"{data['teacher_ndcg']:.4f}"]
    assert f"{data['difference']:+.4f}  95% {data['low']:+.4f} to {data['high']:+.4f}, p < 0.001" in lines[3]
    assert lines[-1] == sentence(made)
