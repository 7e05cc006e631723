"""Laws for every generator and teacher that uses an LLM, with invented answers and without an engine.

To test your own classes, set GRADRET_GENERATORS and GRADRET_TEACHERS, as described in the suites of these kinds.
"""

import functools
import hashlib
import json
import math
import pickle

import pytest

from gradret import components
from gradret.engines import Answer, Unusable
from gradret.pairs import pair_id
from gradret.prompts import digests
from gradret.store import contracts
from gradret.store.artifacts import write_shard
from gradret.store.contracts import GENERATED
from gradret.store.results import Quarantined

from .made import outside

ENGINE = {"engine": {"name": "vllm", "model": "some/model"}}
NODES = {
    "annotator": ("teachers", ENGINE),
    "annotator-rank": ("teachers", ENGINE | {"task": "rank", "max_candidates": 3}),
    "graded_documents": ("generators", ENGINE),
    "graded_documents-separate": ("generators", ENGINE | {"mode": "separate", "levels": [3, 4]}),
    "judge": ("teachers", ENGINE),
    "judge-binary": ("teachers", ENGINE | {"scale": "binary", "orders": "query_first"}),
    "llm_queries": ("generators", ENGINE),
}
NODES = {name: (kind, {"name": name.partition("-")[0]} | fields) for name, (kind, fields) in NODES.items()}
NODES |= {
    node["name"]: (kind, node)
    for kind in ("generators", "teachers")
    for node in outside(kind)
    if components.find(kind, node["name"]).asks_llm
}
UNUSABLE = [
    ("", "stop"),
    ("   \n", "stop"),
    ("I'm sorry, but I can't help with that.", "stop"),
    ('{"a": "an answer that does not', "length"),
]


class Asking:
    """A component, its shards, and the prompts about each."""

    def __init__(self, collection, kind, node, folder):
        self.collection, self.kind, self.config = collection, kind, collection.config(kind, node)
        self.component = collection.component(kind, node)
        if kind == "teachers":
            prepared = self.component.prepare(self.config, collection.ingested, collection.generated)
            self.load = functools.partial(self.component.load, prepared)
            self.shards = collection.mined.shards("pairs")
        else:
            prepared = self.component.prepare(self.config, collection.ingested, collection.sample)
            self.load = functools.partial(self.component.load, prepared, len(collection.docs), 0)
            self.shards = collection.ingested.shards("docs")
            if self.component.takes_queries:
                self.shards = list(_queries(self.component.drawn(prepared, 0), folder))
        self.task = self.load()
        self.prompts = [list(self.task.prompts(shard)) for shard in self.shards]

    def results(self, read):
        """Of every shard, from what ``read`` makes of each prompt and its place."""
        return [
            self.task.result(shard, {each.prompt_id: read(each, place) for place, each in enumerate(prompts)})
            for shard, prompts in zip(self.shards, self.prompts, strict=True)
        ]

    def read(self, prompt, place=0):
        return self.task.read(answered(prompt))

    @property
    def all(self):
        return [prompt for prompts in self.prompts for prompt in prompts]


def _queries(rows, folder):
    for number in range(rows.num_rows):
        path = folder / "queries" / f"part-{number:05d}.parquet"
        write_shard(path, rows.slice(number, 1), "queries")
        yield path


def answered(prompt, text=None, finish="stop"):
    """A usable answer, or this one."""
    sampling = prompt.sampling
    if text is None:
        schema = sampling.json_schema
        text = json.dumps(filled(schema, prompt.prompt_id)) if schema else _line(prompt)
        logprobs = tuple(math.log(1 / len(sampling.choices)) for _ in sampling.choices)
    else:
        logprobs = ()
    return Answer(prompt.prompt_id, text, finish, 9, 5, logprobs, facts=json.loads(json.dumps(dict(prompt.facts))))


def _line(prompt):
    """A question, a statement and a title, about the prompt's first text and unlike those of other prompts."""
    words = " ".join(prompt.texts[0].split()[:3]) if prompt.texts else ""
    return f"why {words} {hashlib.sha256(prompt.prompt_id.encode()).hexdigest()}."


def filled(schema, name):
    """The least that a JSON schema takes, texts unlike each other."""
    match schema["type"]:
        case "object":
            return {key: filled(part, f"{name} {key}") for key, part in schema["properties"].items()}
        case "array":
            return []
        case "string":
            return f"text {hashlib.sha256(name.encode()).hexdigest()}"
        case _:
            return schema.get("minimum", 0)


def quarantined(prompt, place=0):
    return Quarantined(prompt.prompt_id, "made up", "")


@pytest.fixture(scope="module", params=NODES)
def asking(request, collection, tmp_path_factory):
    kind, node = NODES[request.param]
    if kind == "generators" and components.find(kind, node["name"]).takes_queries:
        request.getfixturevalue("ray_session")  # the dataset's queries are read on it
    return Asking(collection, kind, node, tmp_path_factory.mktemp("tasks"))


def rows(results, table):
    return [row for result in results if table in result.tables for row in result.tables[table].to_pylist()]


def test_every_one_that_asks_is_here():
    asks = {
        (kind, name)
        for kind in ("generators", "teachers")
        for name in components.names(kind)
        if components.find(kind, name).asks_llm
    }
    assert {(kind, node["name"]) for kind, node in NODES.values()} >= asks


def test_its_templates_are_there(asking):
    assert set(digests(asking.component.templates)) >= set(asking.component.templates)
    assert asking.component.templates


def test_prompts_have_ids_of_their_own(asking):
    ids = [prompt.prompt_id for prompt in asking.all]
    assert ids
    assert len(set(ids)) == len(ids)


def test_prompts_are_the_same_in_every_worker(asking):
    task = pickle.loads(pickle.dumps(asking.load))()
    for shard, prompts in zip(asking.shards, asking.prompts, strict=True):
        again = list(task.prompts(shard))
        assert [said(prompt) for prompt in again] == [said(prompt) for prompt in prompts]


def said(prompt):
    fields = {name: getattr(prompt, name) for name in ("prompt_id", "system", "texts", "max_text_tokens")}
    return fields | {"user": prompt.user(prompt.texts), "facts": dict(prompt.facts), "sampling": repr(prompt.sampling)}


def test_a_message_holds_its_texts_as_they_are_given(asking):
    """An engine cuts them, and nothing else of a message changes."""
    for prompt in asking.all:
        marks = [f"<<{number}>>" for number in range(len(prompt.texts))]
        message = prompt.user(marks)
        for mark, text in zip(marks, prompt.texts, strict=True):
            assert message.count(mark) == 1
            message = message.replace(mark, text)
        assert message == prompt.user(prompt.texts)


def test_facts_are_plain_json(asking):
    for prompt in asking.all:
        assert json.loads(json.dumps(dict(prompt.facts))) == dict(prompt.facts)


def test_all_prompts_want_the_same_kind_of_answer(asking):
    """Engines take them in one table."""
    assert len({bool(prompt.sampling.choices) for prompt in asking.all}) == 1
    assert len({prompt.sampling.json_schema is None for prompt in asking.all}) == 1
    assert all(prompt.sampling.max_tokens >= 1 for prompt in asking.all)


@pytest.mark.parametrize(("text", "finish"), UNUSABLE)
def test_an_answer_of_no_use_says_why(asking, text, finish):
    for prompt in asking.all[:5]:
        with pytest.raises(Unusable) as why:
            asking.task.read(answered(prompt, text, finish))
        assert str(why.value)
        assert prompt.prompt_id not in str(why.value)  # many share a reason


def test_usable_answers_become_rows(asking):
    results = asking.results(asking.read)
    assert all(result.rows_in == result.rows_kept + len(result.quarantined) for result in results)
    table = "labels" if asking.kind == "teachers" else "queries"
    assert rows(results, table)
    for result in results:
        for name, made in result.tables.items():
            contracts.check(made, name, "result")
    again = asking.results(asking.read)
    assert [result.tables for result in again] == [result.tables for result in results]


def test_unusable_answers_are_quarantined(asking):
    for result in asking.results(quarantined):
        assert result.rows_kept == 0
        assert result.rows_in == len(result.quarantined)
        assert all(made.num_rows == 0 for made in result.tables.values())
        assert all(each.where and each.reason for each in result.quarantined)


def test_some_of_each_reconcile(asking):
    """The same rows in, however many of them are kept."""
    whole = asking.results(asking.read)
    some = asking.results(lambda prompt, place: (quarantined if place % 3 == 0 else asking.read)(prompt))
    for all_good, mixed in zip(whole, some, strict=True):
        assert mixed.rows_in == all_good.rows_in == mixed.rows_kept + len(mixed.quarantined)
        assert mixed.rows_kept < all_good.rows_kept


def test_queries_name_their_source(asking):
    if asking.kind == "generators":
        results = asking.results(asking.read)
        queries = rows(results, "queries")
        query_ids = [row["query_id"] for row in queries]
        assert len(set(query_ids)) == len(query_ids)
        known = {row["doc_id"] for row in rows(results, "docs")} | asking.collection.doc_ids
        assert all(row["text"].strip() and row["source_doc_id"] in known for row in queries)
        assert all(row["generator"] for row in queries)


def test_labels_are_of_the_pairs_that_were_asked(asking):
    if asking.kind == "teachers":
        labels = rows(asking.results(asking.read), "labels")
        assert labels
        pairs = {row["pair_id"] for row in asking.collection.mined.table("pairs").to_pylist()}
        found = [row["pair_id"] for row in labels]
        assert len(set(found)) == len(found)
        assert set(found) <= pairs
        assert all(math.isfinite(row["score"]) for row in labels)


def test_written_documents_are_graded_and_known_as_such(asking):
    if asking.kind == "generators" and asking.component.takes_queries:
        results = asking.results(asking.read)
        docs = {row["doc_id"]: row for row in rows(results, "docs")}
        labels, queries = rows(results, "labels"), {row["query_id"] for row in rows(results, "queries")}
        assert docs
        assert all(doc_id.startswith(GENERATED) and row["text"].strip() for doc_id, row in docs.items())
        assert {row["doc_id"] for row in labels} == set(docs)
        assert all(row["pair_id"] == pair_id(row["query_id"], row["doc_id"]) for row in labels)
        assert {row["query_id"] for row in labels} == queries
        most = max(sum(row["query_id"] == query_id for row in labels) for query_id in queries)
        assert most <= asking.component.documents_per_query
