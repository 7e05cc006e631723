import math

import numpy as np
import pytest

from gradret.engines import Answer, Unusable
from gradret.errors import ConfigError
from gradret.pairs import pair_id
from gradret.prompts import digests
from gradret.store.results import Quarantined
from gradret.teachers.judge import Judge

RANKS = {"q0": {"d1": [1], "d2": [2]}, "q1": {"d1": [1]}}


@pytest.fixture
def loaded(world):
    """The task of a judge, and its shard of pairs."""

    def load(**settings):
        ingested, queries, shard = world(RANKS)
        judge = Judge(engine=None, **settings)
        return judge.load(judge.prepare(None, ingested, queries)), shard

    return load


def answer(*probabilities, prompt_id="p", text=""):
    logprobs = tuple(math.log(p) if p else -math.inf for p in probabilities)
    return Answer(prompt_id, text, "length", 10, 1, logprobs=logprobs)


@pytest.mark.parametrize(
    ("scale", "probabilities", "score"),
    [
        ("0-3", (0.1, 0.2, 0.3, 0.2), (0.2 + 0.6 + 0.6) / 0.8 / 3),
        ("0-3", (0, 0, 0, 0.6), 1),
        ("0-3", (1, 0, 0, 0), 0),
        ("1-7", (1 / 7,) * 7, (4 - 1) / 6),
        ("1-7", (0.25, 0, 0, 0, 0, 0, 0.5), (5 - 1) / 6),
        ("binary", (0.2, 0.6), 0.75),
    ],
)
def test_the_score_is_the_expected_grade_among_the_grade_tokens(loaded, scale, probabilities, score):
    judging, _ = loaded(scale=scale)
    assert judging.read(answer(*probabilities)) == pytest.approx(score, abs=1e-12)


def test_the_expectation_is_numpys_weighted_mean(loaded):
    draw = np.random.default_rng(0)
    for scale, grades in {"0-3": np.arange(4), "1-7": np.arange(1, 8), "binary": np.arange(2)}.items():
        judging, _ = loaded(scale=scale)
        for weights in draw.dirichlet(np.ones(len(grades)), 20) * 0.7:
            want = (np.average(grades, weights=weights) - grades.min()) / np.ptp(grades)
            assert judging.read(answer(*weights)) == pytest.approx(want, abs=1e-12)


def test_an_answer_with_too_much_outside_the_grades_is_unusable(loaded):
    judging, _ = loaded(max_outside=0.25)
    assert judging.read(answer(0, 0, 0.375, 0.375)) == pytest.approx(2.5 / 3)
    with pytest.raises(Unusable, match="no grade among the likely tokens"):
        judging.read(answer(0, 0, 0.37, 0.37))
    with pytest.raises(Unusable, match="no probabilities for the grades"):
        judging.read(answer())


def test_every_pair_is_asked_in_both_orders(loaded):
    judging, shard = loaded()
    prompts = {prompt.prompt_id: prompt for prompt in judging.prompts(shard)}
    orders = ("query_first", "document_first")
    pairs = [(q, d) for q, docs in RANKS.items() for d in docs]
    assert sorted(prompts) == sorted(f"{pair_id(q, d)}~{order}" for q, d in pairs for order in orders)
    passages = {"d1": "Title about 1", "d2": "about 2"}
    for q, d in pairs:
        first, last = (prompts[f"{pair_id(q, d)}~{order}"] for order in orders)
        assert first.texts == last.texts == (passages[d],)
        for prompt, query_first in ((first, True), (last, False)):
            # What the engine left of the document is what is shown.
            message = prompt.user(["left of it"])
            assert (message.index(f"what is {q[1:]}") < message.index("left of it")) is query_first
            assert passages[d] not in message
    assert len({prompt.system for prompt in prompts.values()}) == 1
    assert [prompt.prompt_id for prompt in judging.prompts(shard)] == list(prompts)


@pytest.mark.parametrize("scale", ["0-3", "1-7", "binary"])
def test_the_model_is_told_each_grade_that_it_may_give(loaded, scale):
    judging, shard = loaded(scale=scale, orders="query_first", max_doc_tokens=99)
    prompt = next(iter(judging.prompts(shard)))
    assert prompt.sampling.choices == {"0-3": tuple("0123"), "1-7": tuple("1234567"), "binary": tuple("01")}[scale]
    assert all(f"\n{grade} - " in prompt.system for grade in prompt.sampling.choices)
    assert (prompt.sampling.max_tokens, prompt.sampling.temperature, prompt.max_text_tokens) == (1, 0.0, 99)


def test_a_pair_gets_the_mean_of_its_orders(loaded):
    judging, shard = loaded()
    read = {prompt.prompt_id: 0.0 for prompt in judging.prompts(shard)}
    read |= {f"{pair_id('q0', 'd2')}~query_first": 0.5, f"{pair_id('q0', 'd2')}~document_first": 0.75}
    result = judging.result(shard, read)
    rows = {(row["query_id"], row["doc_id"]): row for row in result.tables["labels"].to_pylist()}
    assert {key: row["score"] for key, row in rows.items()} == {("q0", "d1"): 0, ("q0", "d2"): 0.625, ("q1", "d1"): 0}
    assert all(row["pair_id"] == pair_id(*key) and row["source"] == "judge" for key, row in rows.items())
    assert (result.rows_in, result.rows_kept, result.quarantined) == (3, 3, [])


@pytest.mark.parametrize("order", ["query_first", "document_first"])
def test_a_pair_with_a_bad_order_is_quarantined(loaded, order):
    judging, shard = loaded()
    read = {prompt.prompt_id: 1.0 for prompt in judging.prompts(shard)}
    bad = f"{pair_id('q1', 'd1')}~{order}"
    result = judging.result(shard, read | {bad: Quarantined(bad, "engine error", "it broke")})
    assert result.quarantined == [Quarantined("q1 d1", "engine error", "it broke")]
    assert (result.rows_in, result.rows_kept, result.tables["labels"].num_rows) == (3, 2, 2)


def test_one_order_alone_is_half_the_prompts(loaded):
    judging, shard = loaded(orders="document_first")
    read = {prompt.prompt_id: 0.25 for prompt in judging.prompts(shard)}
    assert len(read) == 3
    assert judging.result(shard, read).tables["labels"]["score"].to_pylist() == [0.25] * 3


def test_a_template_of_ones_own_replaces_ours(loaded, tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text(
        "{% set system %}\nGrade!\n{% endset %}\n"
        "{% macro user(query, document, query_first) %}\n{{ document }}|{{ query }}|{{ query_first }}\n{% endmacro %}\n"
    )
    judging, shard = loaded(template=str(path))
    prompt = next(iter(judging.prompts(shard)))
    assert (prompt.system, prompt.user(["x < y"])) == ("Grade!", "x < y|what is 0|True")
    before = digests(Judge(engine=None, template=str(path)).templates)
    path.write_text(path.read_text().replace("Grade!", "Grade now!"))
    assert digests(Judge(engine=None, template=str(path)).templates) != before


def test_a_template_that_does_not_fit_is_refused_before_any_work(loaded, tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{% set system = 'Grade!' %}{% macro user(query) %}{{ query }}{% endmacro %}")
    with pytest.raises(ConfigError, match=r"mine\.jinja: user\(query, document, query_first\) fails"):
        loaded(template=str(path))
    path.write_text("{% set system = 'Grade!' %}{% macro user(query, document, query_first) %}{{ doc }}{% endmacro %}")
    with pytest.raises(ConfigError, match="'doc' is undefined"):
        loaded(template=str(path))
    with pytest.raises(ConfigError, match="judge/0-4"):
        loaded(template="judge/0-4")


@pytest.mark.parametrize(
    "wrong", [{"max_outside": 1.0}, {"max_outside": -0.1}, {"max_doc_tokens": 0}, {"positive_above": 1.0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}:? must be"):
        Judge(engine=None, **wrong)
