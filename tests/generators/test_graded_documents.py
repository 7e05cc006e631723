"""Documents for queries: prompts, parsing of answers, and the resulting artifacts."""

import dataclasses
import json
from collections import Counter

import jsonschema
import pyarrow as pa
import pytest

from gradret.config.loading import load, parse, to_yaml
from gradret.engines import Answer, Unusable
from gradret.errors import ConfigError
from gradret.generators._filters import DocumentFilters
from gradret.generators.extractive import Extractive
from gradret.generators.graded_documents import GradedDocuments
from gradret.pairs import pair_id
from gradret.store import contracts
from gradret.store.artifacts import write_shard
from gradret.store.results import Quarantined

FOUR = {"relevance_3": "exact", "relevance_2": "partly", "relevance_1": "near", "relevance_0": "off"}


def query(number, split="train"):
    return {"query_id": f"q{number}", "text": f"what is thing {number}", "split": split, "generator": "human"}


@pytest.fixture
def shard(tmp_path):
    """Writes a shard of QUERIES."""

    def write(*rows, name="queries"):
        path = tmp_path / f"{name}.parquet"
        write_shard(path, pa.Table.from_pylist(list(rows), contracts.schema("queries")), "queries")
        return path

    return write


def task(seed=0, **settings):
    return GradedDocuments(**settings).load({}, 0, seed)


def asked(task, path):
    return {prompt.prompt_id: prompt for prompt in task.prompts(path)}


def answer(prompt, text, finish="stop"):
    text = text if isinstance(text, str) else json.dumps(text)
    return Answer(prompt.prompt_id, text, finish, 10, 10, facts=json.loads(json.dumps(prompt.facts)))


def read_all(task, path, texts):
    """What was read of each prompt, as a stage hands it to ``result``; a query_id not in ``texts`` failed."""
    read = {}
    for prompt_id, prompt in asked(task, path).items():
        if prompt_id not in texts:
            read[prompt_id] = Quarantined(prompt_id, "engine error", "")
            continue
        try:
            read[prompt_id] = task.read(answer(prompt, texts[prompt_id]))
        except Unusable as why:
            read[prompt_id] = Quarantined(prompt_id, str(why), "raw")
    return read


# What is asked


def test_one_completion_asks_for_all_grades_from_best_to_worst(shard):
    (prompt,) = asked(task(), shard(query(1))).values()
    user = prompt.user(())
    assert prompt.prompt_id == "q1"
    assert user.startswith("Query: what is thing 1\n")
    assert prompt.texts == ()
    assert list(prompt.sampling.json_schema["properties"]) == list(FOUR)
    places = [user.rindex(key) for key in FOUR]
    assert places == sorted(places)
    for grade, word in {3: "perfectly relevant", 2: "highly relevant", 1: "related", 0: "irrelevant"}.items():
        assert f"of grade {grade} is {word}" in prompt.system


def test_a_completion_a_grade_shares_all_but_the_last_line(shard):
    prompts = asked(task(mode="separate"), shard(query(1)))
    assert list(prompts) == ["q1~3", "q1~2", "q1~1", "q1~0"]
    assert len({prompt.system for prompt in prompts.values()}) == 1
    heads, lasts = zip(*(prompt.user(()).rsplit("\n", 1) for prompt in prompts.values()), strict=True)
    assert len(set(heads)) == 1
    assert [f"of grade {grade}." in last for grade, last in zip((3, 2, 1, 0), lasts, strict=True)] == [True] * 4
    drawn = [{key: value for key, value in p.facts.items() if key != "grades"} for p in prompts.values()]
    assert drawn == drawn[:1] * 4
    assert [prompt.facts["grades"] for prompt in prompts.values()] == [[3], [2], [1], [0]]


def test_the_schema_takes_bounded_documents_and_nothing_else(shard):
    (prompt,) = asked(task(max_chars=10), shard(query(1))).values()
    schema = prompt.sampling.json_schema
    jsonschema.validate({**FOUR, "relevance_0": "ten chars."}, schema)
    wrong = [
        {**FOUR, "relevance_0": "eleven char"},
        {**FOUR, "relevance_0": ""},
        {**FOUR, "relevance_0": 3},
        {**FOUR, "more": "x"},
        {key: FOUR[key] for key in list(FOUR)[:3]},
        [],
    ]
    for value in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, schema)


def test_what_was_drawn_is_said_and_recorded(shard):
    writer = task(lengths=(1, 7), difficulties=("beginner", ""), examples=2)
    pool = writer.templates.examples
    for prompt in asked(writer, shard(*map(query, range(30)))).values():
        user, facts = prompt.user(()), prompt.facts
        assert f"about {facts['length']} sentence" in user
        assert ("beginner" in user) == (facts["difficulty"] == "beginner")
        assert len(set(facts["examples"])) == 2
        shown = {place for place, example in enumerate(pool) if example["documents"][0] in user}
        assert shown == set(facts["examples"])
        assert all(pool[place]["query"] in user for place in shown)
        assert (facts["levels"], facts["mode"]) == (4, "joint")
        assert json.loads(json.dumps(facts)) == facts


def test_nothing_is_said_of_what_was_not_drawn(shard):
    (prompt,) = asked(task(lengths=(0,), difficulties=("",), examples=0), shard(query(1))).values()
    user = prompt.user(())
    assert "sentence" not in user
    assert "level" not in user
    assert "example" not in user


def test_draws_follow_from_seed_and_query_not_from_the_place(shard):
    rows = [query(number) for number in range(200)]
    whole = asked(task(), shard(*rows))
    for name, part in {"back": rows[::-1], "few": rows[50:53]}.items():
        for prompt_id, prompt in asked(task(), shard(*part, name=name)).items():
            assert prompt.facts == whole[prompt_id].facts
            assert prompt.user(()) == whole[prompt_id].user(())
    other = asked(task(seed=1), shard(*rows))
    assert sum(other[key].facts == whole[key].facts for key in whole) < 50


@pytest.mark.parametrize("key", ["length", "difficulty", "levels"])
def test_every_value_is_drawn_about_as_often(shard, key):
    prompts = asked(task(levels=(2, 3, 4, 5)), shard(*map(query, range(1000)))).values()
    counts = Counter(prompt.facts[key] for prompt in prompts)
    values = {"length": 5, "difficulty": 4, "levels": 4}[key]
    assert len(counts) == values
    # Five standard deviations of a binomial draw.
    share = 1 / values
    assert all(abs(count - 1000 * share) < 5 * (1000 * share * (1 - share)) ** 0.5 for count in counts.values())


def test_examples_have_as_many_documents_as_there_are_grades(shard):
    for prompt in asked(task(levels=(2, 4)), shard(*map(query, range(40)))).values():
        assert len(prompt.facts["examples"]) == (prompt.facts["levels"] == 4)
        assert f"There are {prompt.facts['levels']} grades" in prompt.system


# How answers are read


@pytest.fixture
def prompt(shard):
    (only,) = asked(task(), shard(query(1))).values()
    return only


def test_an_answer_is_documents_by_grade(prompt):
    spaced = json.dumps({**FOUR, "relevance_3": "  exact\n"}, indent=2)
    assert task().read(answer(prompt, spaced)) == {3: "exact", 2: "partly", 1: "near", 0: "off"}


def test_line_ends_in_a_text_are_no_error(prompt):
    raw = json.dumps(FOUR).replace("partly", "two\nlines")
    assert task().read(answer(prompt, raw))[2] == "two\nlines"


def test_a_whole_answer_that_ends_at_the_limit_is_kept(prompt):
    assert len(task().read(answer(prompt, FOUR, "length"))) == 4


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ('{"relevance_3": "exa', "length", "cut off at max_tokens"),
        ('{"relevance_3": "exa', "stop", "not JSON"),
        ("", "stop", "not JSON"),
        ("[" * 100_000, "stop", "not JSON"),
        ("[]", "stop", "not a JSON object"),
        ({"relevance_3": "exact"}, "stop", "a document is missing"),
        ({**FOUR, "relevance_1": None}, "stop", "a document is missing"),
        ({**FOUR, "relevance_1": " \n"}, "stop", "a document is empty"),
        ({**FOUR, "relevance_1": 7}, "stop", "a document is missing"),
        ({**FOUR, "relevance_0": "EXACT "}, "stop", "the same document at two grades"),
        ({**FOUR, "relevance_3": "I'm sorry, but I can't help with that."}, "stop", "refusal"),
        ({**FOUR, "relevance_3": "half a \ud83d smile"}, "stop", "an unpaired surrogate in the text"),
    ],
)
def test_an_answer_that_cannot_be_used_says_why(prompt, text, finish, reason):
    with pytest.raises(Unusable, match=f"^{reason}$"):
        task().read(answer(prompt, text, finish))


def test_an_answer_that_repeats_an_example_is_told(prompt):
    (place,) = prompt.facts["examples"]
    copied = task().templates.examples[place]["documents"][2]
    with pytest.raises(Unusable, match=r"^copy of an example$"):
        task().read(answer(prompt, {**FOUR, "relevance_2": f" {copied}"}))
    words = copied.split()
    edited = " ".join([*words[: len(words) // 2], "instead", *words[len(words) // 2 + 1 :]])
    with pytest.raises(Unusable, match=r"^copy of an example$"):
        task().read(answer(prompt, {**FOUR, "relevance_2": edited}))
    assert task(filters=DocumentFilters(prompt=0)).read(answer(prompt, {**FOUR, "relevance_2": copied}))[2] == copied
    assert task().read(answer(prompt, {**FOUR, "relevance_2": "\U0001f642"}))[2] == "\U0001f642"  # escaped as a pair


def test_an_answer_that_repeats_the_prompt_is_told(prompt):
    rule = next(line for line in prompt.system.splitlines() if line.startswith("of grade 3 is"))
    with pytest.raises(Unusable, match=r"^copy of the prompt$"):
        task().read(answer(prompt, {**FOUR, "relevance_3": f"A document {rule}"}))
    with pytest.raises(Unusable, match=r"^copy of the prompt$"):
        task().read(answer(prompt, {**FOUR, "relevance_0": "A document of grade 0 is: " + rule}))


def test_documents_that_differ_in_a_word_are_the_same(prompt):
    text = "A wing in the wake of a propeller gains more lift than one in still air, as tunnels show."
    alike = {**FOUR, "relevance_3": text, "relevance_2": text.replace("tunnels", "tests")}
    with pytest.raises(Unusable, match=r"^the same document at two grades$"):
        task().read(answer(prompt, alike))
    assert len(task(filters=DocumentFilters(similar=0)).read(answer(prompt, alike))) == 4


# What becomes of them


def test_queries_documents_and_labels(shard):
    rows = [query(1), query(2) | {"split": None, "kind": "title", "generator": "extractive", "source_doc_id": "d7"}]
    path, writer = shard(*rows), task()
    other = {key: f"{text} too" for key, text in FOUR.items()}
    result = writer.result(path, read_all(writer, path, {"q1": FOUR, "q2": other}))
    assert (result.rows_in, result.rows_kept, result.quarantined) == (2, 2, [])
    assert result.counts == {"queries": 2, "docs": 8}
    queries = result.tables["queries"].to_pylist()
    assert queries == [
        query(1) | {"kind": None, "source_doc_id": "generated~q1~3"},
        rows[1] | {"source_doc_id": "generated~q2~3"},
    ]
    docs = {row["doc_id"]: row for row in result.tables["docs"].to_pylist()}
    assert docs["generated~q2~1"] == {
        "doc_id": "generated~q2~1", "title": None, "text": "near too", "origin": "graded_documents",
    }  # fmt: skip
    labels = {(row["query_id"], row["doc_id"]): row for row in result.tables["labels"].to_pylist()}
    assert len(labels) == len(docs) == 8
    for (query_id, doc_id), row in labels.items():
        assert doc_id == f"generated~{query_id}~{int(row['score'])}"
        assert (row["pair_id"], row["source"]) == (pair_id(query_id, doc_id), "generated")
    for name, table in result.tables.items():
        contracts.check(table, name, "result")


def test_a_query_whose_answer_failed_is_quarantined(shard):
    path, writer = shard(query(1), query(2), query(3)), task()
    result = writer.result(path, read_all(writer, path, {"q1": FOUR, "q3": {"relevance_3": "x"}}))
    assert (result.rows_in, result.rows_kept) == (3, 1)
    assert [(row.where, row.reason) for row in result.quarantined] == [
        ("q2", "engine error"),
        ("q3", "a document is missing"),
    ]
    assert result.tables["queries"]["query_id"].to_pylist() == ["q1"]
    assert {row["query_id"] for row in result.tables["labels"].to_pylist()} == {"q1"}


def test_separate_completions_that_failed_leave_the_others(shard):
    path, writer = shard(query(1), query(2), query(3)), task(mode="separate")
    texts = {f"q1~{grade}": {"document": f"text {grade}"} for grade in (2, 1, 0)}  # the best one failed
    texts |= {f"q2~{grade}": {"document": f"text {grade % 3}"} for grade in range(4)}  # 3 and 0 are the same
    texts["q3~3"] = {"document": "alone"}
    result = writer.result(path, read_all(writer, path, texts))
    assert (result.rows_in, result.rows_kept, len(result.quarantined)) == (12, 6, 6)
    assert [(row.where, row.reason) for row in result.quarantined if row.reason != "engine error"] == [
        ("q2~0", "the same document at two grades"),
        ("q3~3", "fewer than 2 documents of the query"),
    ]
    assert {row["query_id"]: row["source_doc_id"] for row in result.tables["queries"].to_pylist()} == {
        "q1": None,
        "q2": "generated~q2~3",
    }
    scores = {row["doc_id"]: row["score"] for row in result.tables["labels"].to_pylist()}
    kept = ("q1~2", "q1~1", "q1~0", "q2~3", "q2~2", "q2~1")
    assert scores == {f"generated~{prompt_id}": float(prompt_id[-1]) for prompt_id in kept}
    assert {row["doc_id"]: row["text"] for row in result.tables["docs"].to_pylist()}["generated~q1~2"] == "text 2"


def test_scores_of_unlike_numbers_of_grades_are_stretched_to_the_largest(shard):
    path, writer = shard(*map(query, range(30))), task(levels=(2, 4, 3))
    texts, levels = {}, {}
    for prompt_id, prompt in asked(writer, path).items():
        levels[prompt_id] = prompt.facts["levels"]
        texts[prompt_id] = {f"relevance_{grade}": f"text {grade}" for grade in range(levels[prompt_id])}
    result = writer.result(path, read_all(writer, path, texts))
    got = {}
    for row in result.tables["labels"].to_pylist():
        got.setdefault(levels[row["query_id"]], set()).add((row["doc_id"][-1], row["score"]))
    assert got == {
        2: {("0", 0.0), ("1", 3.0)},
        3: {("0", 0.0), ("1", 1.5), ("2", 3.0)},
        4: {("0", 0.0), ("1", 1.0), ("2", 2.0), ("3", 3.0)},
    }


def test_at_most_so_many_queries_whatever_their_order(artifact):
    rows = [query(number) for number in range(50)]
    prepared = {"queries": artifact("training_queries", queries=rows)}

    def drawn(most, seed=0):
        return set(GradedDocuments(max_queries=most).drawn(prepared, seed)["query_id"].to_pylist())

    assert len(drawn(10)) == 10
    assert drawn(10) < drawn(20)
    assert drawn(10) != drawn(10, seed=1)
    assert len(drawn(1000)) == 50
    fewer = {"queries": artifact("training_queries", queries=[row for row in rows if row["query_id"] in drawn(20)])}
    assert set(GradedDocuments(max_queries=10).drawn(fewer, 0)["query_id"].to_pylist()) == drawn(10)


# Settings and templates


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"levels": ()}, "levels"),
        ({"levels": (4, 1)}, "levels"),
        ({"lengths": ()}, "lengths"),
        ({"lengths": (-1,)}, "lengths"),
        ({"difficulties": ()}, "difficulties"),
        ({"examples": -1}, "examples"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_chars": 0}, "max_chars"),
        ({"max_queries": 0}, "max_queries"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"queries": GradedDocuments()}, "queries"),
    ],
)
def test_settings_that_make_no_sense(settings, field):
    with pytest.raises(ValueError, match=f"{field}:? must"):
        GradedDocuments(**settings)


def generator(**keys):
    node = {"name": "graded_documents", "engine": {"name": "vllm", "model": "m"}} | keys
    return parse({"name": "toy", "dataset": "pydocs", "generate": {"generator": node}})


@pytest.mark.parametrize("queries", [None, {"name": "extractive", "queries": 7}])
def test_queries_may_be_a_generator_or_nothing(queries, tmp_path):
    config = generator(queries=queries)
    assert config.generate.generator.queries == (queries and Extractive(queries=7))
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "config.yaml") == config


def test_an_unknown_generator_of_queries_is_refused():
    with pytest.raises(ConfigError, match=r"generate\.generator\.queries\.name: 'extractiv' is not one of"):
        generator(queries={"name": "extractiv"})


def test_a_number_of_grades_that_no_definition_has():
    said = r"documents/definitions: definitions must have 7 texts under 7.*\[2, 3, 4, 5\]"
    with pytest.raises(ConfigError, match=said):
        task(levels=(4, 7))


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("prompt", "{% macro system(definitions) %}x{% endmacro %}", "does not set user"),
        ("definitions", "{% set grades = {} %}", "does not set definitions"),
        ("definitions", '{% set definitions = {4: ["a", "b"]} %}', "must have 4 texts under 4"),
        ("definitions", '{% set definitions = ["a", "b"] %}', "must have 4 texts under 4"),
        ("pool", '{% set examples = [{"query": "x"}] %}', "documents"),
        ("pool", "", "does not set examples"),
        (
            "prompt",
            "{% macro system(definitions) %}x{% endmacro %}{% macro user(query) %}{{ query }}{% endmacro %}",
            "takes not more than 1 argument",
        ),
    ],
)
def test_a_template_of_ones_own_that_is_not_what_it_should_be(tmp_path, field, text, said):
    path = tmp_path / "mine.jinja"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        task(**{field: str(path)})
    assert "mine.jinja" in str(caught.value)


def test_templates_of_ones_own(tmp_path, shard):
    definitions, pool = tmp_path / "grades.jinja", tmp_path / "pool.jinja"
    definitions.write_text('{% set definitions = {2: ["a hit", "a miss"]} %}')
    pool.write_text('{% set examples = [{"query": "my query", "documents": ["yes", "no"]}] %}')
    settings = GradedDocuments(levels=(2,), definitions=str(definitions), pool=str(pool))
    (prompt,) = asked(settings.load({}, 0, 0), shard(query(1))).values()
    assert "of grade 1 is a hit\nof grade 0 is a miss\n" in prompt.system
    assert "my query" in prompt.user(())
    assert "Grade 1: yes\nGrade 0: no\n" in prompt.user(())
    assert dataclasses.astuple(settings)[4:7] == settings.templates


def test_examples_of_the_pool_are_whole_and_apart():
    for example in task().templates.examples:
        assert len({" ".join(text.split()) for text in example["documents"]}) == 4
        assert all(example["query"] not in text for text in example["documents"])
