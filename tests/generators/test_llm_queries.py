import json
import re
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

import gradret.datasets
from gradret import prompts
from gradret.engines import Answer, Unusable
from gradret.errors import ConfigError
from gradret.generators._answers import one_line
from gradret.generators._filters import Filters
from gradret.generators.llm_queries import LLMQueries
from gradret.store import contracts
from gradret.store.artifacts import write_shard
from gradret.store.results import Quarantined

KINDS = ("question", "claim", "title", "keywords", "search_examples", "search")
DOCS = [
    {"doc_id": "d1", "title": "Wings", "text": "A wing in a slipstream gains lift.", "origin": "corpus"},
    {"doc_id": "d2", "title": None, "text": "Boundary layers separate from a blunt body.", "origin": "corpus"},
    {"doc_id": "d3", "title": "", "text": "A thin shell buckles under axial load.", "origin": "corpus"},
]
OWN = """
{% set task %}
Write a riddle.
{% endset %}
{% set examples = [
  {"document": "first document", "query": "first riddle"},
  {"document": "second document", "query": "second riddle"},
  {"document": "third document", "query": "third riddle"},
  {"document": "fourth document", "query": "fourth riddle"},
  {"document": "fifth document", "query": "fifth riddle"},
] %}
"""


@pytest.fixture
def shard(tmp_path):
    """Writes DOCS rows as a shard."""

    def write(docs=DOCS, name="docs.parquet"):
        path = tmp_path / name
        write_shard(path, pa.Table.from_pylist(docs, contracts.schema("docs")), "docs")
        return path

    return write


@pytest.fixture
def riddle(tmp_path):
    """Writes a kind of the user's own."""

    def write(text=OWN):
        path = tmp_path / "riddle.jinja"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def task(seed=0, **settings):
    return LLMQueries(**settings).load({}, 3, seed)


def messages(asked):
    return {prompt.prompt_id: prompt.user(prompt.texts) for prompt in asked}


def answer(prompt, text, finish="stop"):
    # Facts come back through JSON.
    return Answer(prompt.prompt_id, text, finish, 9, 9, facts=json.loads(json.dumps(prompt.facts)))


def test_one_prompt_a_document_and_kind(shard):
    asked = list(task().prompts(shard()))
    assert [prompt.prompt_id for prompt in asked] == [f"{doc}~{kind}" for doc in ("d1", "d2", "d3") for kind in KINDS]
    assert [prompt.facts["kind"] for prompt in asked] == 3 * list(KINDS)
    assert {prompt.texts for prompt in asked[:6]} == {("Wings A wing in a slipstream gains lift.",)}
    assert {prompt.texts for prompt in asked[6:12]} == {("Boundary layers separate from a blunt body.",)}


def test_settings_reach_the_prompts(shard):
    asked = list(task(temperature=0.1, top_p=0.5, max_tokens=7, max_doc_tokens=11).prompts(shard()))
    sampling = {(prompt.sampling.temperature, prompt.sampling.top_p, prompt.sampling.max_tokens) for prompt in asked}
    assert sampling == {(0.1, 0.5, 7)}
    assert {prompt.max_text_tokens for prompt in asked} == {11}


def test_prompts_about_a_document_begin_with_it(shard):
    asked = list(task().prompts(shard()))
    assert len({prompt.system for prompt in asked}) == 1
    for start in (0, 6, 12):
        same = asked[start : start + 6]
        before, document, _ = same[0].user(same[0].texts).partition(same[0].texts[0])
        assert all(prompt.user(prompt.texts).startswith(before + document) for prompt in same)
        assert document
    assert len(set(messages(asked).values())) == 18


def test_a_cut_document_is_all_that_changes(shard):
    for prompt in task().prompts(shard()):
        whole, cut = prompt.user(prompt.texts), prompt.user(["A wing"])
        assert cut == whole.replace(prompt.texts[0], "A wing", 1)


def test_a_prompt_does_not_depend_on_its_shard(shard):
    whole = list(task().prompts(shard()))
    alone = list(task().prompts(shard(DOCS[2:0:-1], "other.parquet")))
    assert messages(alone) == {key: text for key, text in messages(whole).items() if not key.startswith("d1")}
    assert {prompt.prompt_id: prompt.facts for prompt in alone}.items() <= {
        prompt.prompt_id: prompt.facts for prompt in whole
    }.items()


def test_facts_name_the_examples_shown(shard, riddle):
    words = ["first", "second", "third", "fourth", "fifth"]
    for prompt in task(kinds=(riddle(),), examples=3).prompts(shard()):
        message = prompt.user(prompt.texts)
        drawn = [words[index] for index in prompt.facts["examples"]]
        assert len(drawn) == 3
        assert re.findall(r"(\w+th|first|second|third) document", message) == drawn
        assert re.findall(r"(\w+th|first|second|third) riddle", message) == drawn


@pytest.mark.parametrize(("examples", "shown"), [(0, 0), (1, 1), (5, 5), (9, 5)])
def test_no_more_examples_than_the_pool_has(shard, riddle, examples, shown):
    for prompt in task(kinds=(riddle(),), examples=examples).prompts(shard()):
        assert len(prompt.facts["examples"]) == len(set(prompt.facts["examples"])) == shown


def test_search_has_no_examples_and_the_task_of_search_examples(shard):
    asked = {prompt.prompt_id: prompt for prompt in task().prompts(shard())}
    assert asked["d1~search"].facts["examples"] == []
    assert all(len(asked[f"d1~{kind}"].facts["examples"]) == 3 for kind in KINDS[:-1])
    bare = {prompt.prompt_id: prompt for prompt in task(examples=0).prompts(shard())}
    assert bare["d1~search"].user(["x"]) == asked["d1~search"].user(["x"])
    assert bare["d1~search_examples"].user(["x"]) == asked["d1~search"].user(["x"])


def test_every_example_is_drawn_equally_often(shard, riddle):
    docs = [{"doc_id": f"d{n}", "title": None, "text": "x", "origin": "corpus"} for n in range(2000)]
    own, counts, firsts = riddle(), [0] * 5, [0] * 5
    for prompt in task(kinds=(own,), examples=2).prompts(shard(docs)):
        firsts[prompt.facts["examples"][0]] += 1
        for index in prompt.facts["examples"]:
            counts[index] += 1
    # Of 5, 2 without replacement: each is in with probability 2/5, and first with 1/5; 5 standard deviations.
    assert all(abs(count - 800) < 5 * (2000 * 0.4 * 0.6) ** 0.5 for count in counts)
    assert all(abs(first - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5 for first in firsts)


def test_examples_follow_the_seed(shard):
    drawn = [[prompt.facts for prompt in task(seed).prompts(shard())] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_answer_is_read_as_its_line(shard):
    job = task()
    prompt = next(iter(job.prompts(shard())))
    assert job.read(answer(prompt, 'Question: "What gives a wing lift?"\n\nIt asks ...')) == "What gives a wing lift?"
    with pytest.raises(Unusable, match="cut off at max_tokens"):
        job.read(answer(prompt, "What gives a wing", "length"))


def test_a_copy_of_the_prompt_is_unusable(shard, riddle):
    job = task(kinds=(riddle(), "question"), examples=1)
    own, question = list(job.prompts(shard()))[:2]
    words = ["first", "second", "third", "fourth", "fifth"]
    shown = words[own.facts["examples"][0]]
    hidden = next(word for word in words if word != shown)
    lines = question.user(question.texts).splitlines()
    for prompt, line in [
        (own, "Write a riddle."),
        (own, "Write a riddle"),
        (question, lines[-1]),
        (question, lines[4]),
    ]:
        with pytest.raises(Unusable, match="copy of the prompt"):
            job.read(answer(prompt, line))
    with pytest.raises(Unusable, match="copy of the prompt"):
        job.read(answer(own, f"another document: {shown} document"))
    assert job.read(answer(own, f"another document: {hidden} document"))
    # The document is not the instructions: many a title is a copy of its own.
    assert job.read(answer(own, DOCS[0]["text"])) == DOCS[0]["text"]


def test_an_answer_has_the_form_of_its_kind(shard, riddle):
    job = task(kinds=("question", "claim", "keywords", "title", riddle(OWN + '{% set form = "question" %}')))
    of = {prompt.facts["kind"]: prompt for prompt in job.prompts(shard(DOCS[:1]))}
    asks, states = "Why does a wing gain lift?", "A wing in the wake of a propeller gains more lift."
    for kind, text, fault in [
        ("question", states, "not a question"),
        ("claim", asks, "a question, not a statement"),
        ("keywords", states, "a sentence, not keywords"),
        ("riddle", states, "not a question"),
    ]:
        with pytest.raises(Unusable, match=f"^{fault}$"):
            job.read(answer(of[kind], text))
    assert job.read(answer(of["title"], states)) == states
    assert job.read(answer(of["title"], asks)) == job.read(answer(of["riddle"], asks)) == asks
    lenient = task(kinds=("question",), filters=Filters(form=False))
    assert lenient.read(answer(of["question"], states)) == states


def different(job, path):
    """A query about its document for each prompt, all unlike each other."""
    return {
        prompt.prompt_id: f"{prompt.texts[0].split()[-1]} {sha256(prompt.prompt_id.encode()).hexdigest()}"
        for prompt in job.prompts(path)
    }


def test_result_reconciles_and_keeps_the_contract(shard):
    job, path = task(), shard()
    read = different(job, path)
    read["d1~claim"] = Quarantined("d1~claim", "refusal", "I cannot help")
    read["d1~keywords"] = "wing, lift, slipstream, wake"
    read["d1~search"] = "Wing, lift: slipstream, wake."
    read["d2~search"] = "Boundary layers separate from a blunt body"
    read["d2~title"] = "Boundary layers separate from a blunt body"
    read["d3~search"] = "薄い殻はなぜ座屈するのか"
    read["d3~claim"] = "Heat pumps move warmth."
    result = job.result(path, read)
    table = contracts.check(result.tables["queries"], "queries", "test")
    assert set(result.tables) == {"queries"}
    assert (result.rows_in, result.rows_kept, table.num_rows) == (18, 13, 13)
    assert result.quarantined == [
        Quarantined("d1~claim", "refusal", "I cannot help"),
        Quarantined("d1~search", "near-duplicate of another kind", read["d1~search"]),
        Quarantined("d2~search", "copied from the document", read["d2~search"]),
        Quarantined("d3~claim", "not about the document", read["d3~claim"]),
        Quarantined("d3~search", "another language than the document", read["d3~search"]),
    ]
    for row in table.to_pylist():
        doc_id, kind = row["query_id"].split("~")
        assert row == {
            "query_id": f"{doc_id}~{kind}",
            "text": read[row["query_id"]],
            "split": None,
            "source_doc_id": doc_id,
            "kind": kind,
            "generator": "llm_queries",
        }


def test_a_query_of_several_documents_is_quarantined(shard):
    job, path = task(kinds=("title", "search")), shard()
    read = different(job, path)
    read |= dict.fromkeys(("d1~search", "d2~search", "d3~title"), "a wing, a thin shell, a body")
    result = job.result(path, read)
    assert (result.rows_in, result.rows_kept) == (6, 3)
    assert {each.reason for each in result.quarantined} == {"same query for several documents"}
    assert [each.where for each in result.quarantined] == ["d1~search", "d2~search", "d3~title"]


def test_result_of_a_shard_whose_answers_all_failed(shard):
    job, path = task(kinds=("title",)), shard()
    bad = {f"d{n}~title": Quarantined(f"d{n}~title", "engine error", "gone") for n in (1, 2, 3)}
    result = job.result(path, bad)
    assert (result.rows_in, result.rows_kept, result.quarantined) == (3, 0, list(bad.values()))
    assert contracts.check(result.tables["queries"], "queries", "test").num_rows == 0


def test_a_prompt_of_the_users_own(shard, tmp_path):
    path = tmp_path / "around.jinja"
    path.write_text(
        "{% set system %}\nBe brief.\n{% endset %}"
        "{% macro user(document, task, examples) %}{{ document }}|{{ examples | length }}{% endmacro %}"
    )
    for prompt in task(prompt=str(path), kinds=("title",)).prompts(shard()):
        assert (prompt.system, prompt.user(["A wing"])) == ("Be brief.", "A wing|3")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{% set examples = [] %}", "does not set task"),
        ("{% set task = 'x' %}", "does not set examples"),
        ("{% set task = '  ' %}{% set examples = [] %}", "task must be text"),
        ("{% set task = missing %}{% set examples = [] %}", "task must be text"),
        ("{% set task = 'x' %}{% set examples = 'y' %}", "examples must be a list"),
        ("{% set task = 'x' %}{% set examples = [] %}{% set form = 'z' %}", "form must be one of question, statement"),
        ("{% set task = 'x' %}{% set examples = ['y'] %}", r"examples\[0\] must have texts document and query"),
        ("{% set task = 'x' %}{% set examples = [{'document': 'y'}] %}", r"examples\[0\]"),
        (
            "{% set task = 'x' %}{% set examples = [{'document': 'y', 'query': 'z'}, {'document': y, 'query': 'z'}] %}",
            r"examples\[1\]",
        ),
    ],
)
def test_a_kind_that_is_not_one_is_refused_before_any_work(riddle, config, beir, text, says):
    generator = LLMQueries(kinds=(riddle(text),))
    with pytest.raises(ConfigError, match=rf"riddle\.jinja.*{says}"):
        generator.prepare(config(beir()), None, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{% set system = 'x' %}", "does not set user"),
        ("{% set system = 'x' %}{% macro user(document) %}{% endmacro %}", "takes no keyword argument"),
        ("{% set system = 'x' %}{% macro user(document, task, examples) %}{{ title }}{% endmacro %}", "'title' is"),
        ("{% set system = 'x' %}{% set user = 'y' %}", "not callable"),
    ],
)
def test_a_prompt_that_cannot_be_written_is_refused_before_any_work(tmp_path, config, beir, text, says):
    path = tmp_path / "around.jinja"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"around\.jinja.*{says}"):
        LLMQueries(prompt=str(path)).prepare(config(beir()), None, None)


def test_templates_name_all_that_the_prompts_are_made_of(riddle):
    own = riddle()
    generator = LLMQueries(kinds=("title", own))
    before = prompts.digests(generator.templates)
    assert set(before) == {"queries/_prompt", "queries/_passages", "queries/title", own}
    riddle(OWN.replace("fifth riddle", "sixth riddle"))
    assert {key for key, value in prompts.digests(generator.templates).items() if value != before[key]} == {own}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kinds": ()}, "kinds must name"),
        ({"kinds": ("titel",)}, "kinds: 'titel' is not .*'title'"),
        ({"kinds": ("title", "my/title.jinja")}, "kinds must have different names, got title, title"),
        ({"kinds": ("my/a~b.jinja",)}, "kinds: .*'a~b'"),
        ({"filters": Filters(extractive=("titel",))}, "filters.extractive: 'titel' is not .*'title'"),
        ({"examples": -1}, "examples: must be"),
        ({"temperature": -0.1}, "temperature: must be"),
        ({"top_p": 0.0}, "top_p must be"),
        ({"top_p": 1.1}, "top_p must be"),
        ({"max_tokens": 0}, "max_tokens: must be"),
        ({"max_doc_tokens": 0}, "max_doc_tokens: must be"),
    ],
)
def test_settings_out_of_range_are_refused(settings, says):
    with pytest.raises(ValueError, match=f"{says}"):
        LLMQueries(**settings)


def test_the_kinds_are_the_templates_here():
    assert sorted(f"queries/{kind}" for kind in LLMQueries().kinds) == prompts.names("queries")
    assert sorted(f"queries/small/{kind}" for kind in LLMQueries().kinds) == prompts.names("queries/small")


def test_small_prompts_have_the_same_kinds_and_end_where_the_answer_begins(shard):
    small, full = task(prompts="small"), task()
    for kind, settings in full.kinds.items():
        assert small.kinds[kind][2:] == settings[2:]
    for prompt, same in zip(small.prompts(shard()), full.prompts(shard()), strict=True):
        assert (prompt.prompt_id, prompt.facts, prompt.texts) == (same.prompt_id, same.facts, same.texts)
        kind, message = small.kinds[prompt.facts["kind"]], prompt.user(prompt.texts)
        assert message.endswith(f"\n{kind.task}:")
        assert all(kind.examples[index]["query"] in message for index in prompt.facts["examples"])
        assert len(prompt.system) + len(message) < len(same.system) + len(same.user(same.texts))
    templates = LLMQueries(prompts="small", prompt="queries/_prompt").templates
    assert templates[:2] == ("queries/_prompt", "queries/small/question")


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_the_examples_follow_the_rules_that_they_illustrate(kind):
    [pool] = prompts.exported(f"queries/{kind}", "examples")
    assert len(pool) >= 12
    assert len({example["document"] for example in pool}) == len({example["query"] for example in pool}) == len(pool)
    for example in pool:
        document, query = example["document"], example["query"]
        assert one_line(Answer("x", query, "stop", 1, 1)) == query
        assert len(query.split()) < 20
        assert 2 <= len(re.findall(r"[.;](?: |$)", document)) <= 4
        words = query.casefold().split()
        runs = [" ".join(words[place : place + 5]) for place in range(len(words) - 4)]
        assert not any(run in document.casefold() for run in runs), query
        assert query.endswith("?") == (kind == "question")
        assert query.endswith(".") == (kind == "claim")
        assert kind != "keywords" or 2 <= len(query.split(", ")) <= 5


def test_no_example_is_a_test_query_of_the_embedded_collection():
    path = Path(gradret.datasets.__file__).parent / "data" / "pydocs" / "queries.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    tested = {json.loads(line)["text"].casefold().strip(" ?.") for line in lines}
    assert len(tested) > 100
    shown = {
        example["query"].casefold().strip(" ?.")
        for kind in KINDS
        for [pool] in [prompts.exported(f"queries/{kind}", "examples")]
        for example in pool
    }
    assert not shown & tested
