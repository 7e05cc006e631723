"""Laws for every engine.

For a class of another package: GRADRET_ENGINES="package.module:Class" pytest tests/conformance/test_engines.py

vLLM is not started here; that it answers every prompt once is tested in tests/engines/test_jobs.py.
"""

import json
import pickle

import pyarrow as pa
import pytest

from gradret import components
from gradret.config.loading import parse
from gradret.engines import Prompt, Sampling, TooLong
from gradret.store.fingerprint import canonical

from ..engines import tiny_llm
from ..engines.test_openai import Endpoint
from .made import outside, placed, used

CONTEXT = 400
PLAIN = Sampling(20)
ANSWER = {"text": str, "finish": str, "tokens_in": int, "tokens_out": int, "logprobs": list, "error": str}
KEPT = ("prompt_id", "item", "facts", "cut")
FINISHES = {"stop", "length", "error"}
OUTSIDE = {node["name"]: node for node in outside("engines")}
NODES = {
    "openai": lambda llm, url: {"model": "m", "base_url": url, "max_model_len": CONTEXT},
    "openai-tokenizer": lambda llm, url: {
        "model": "m",
        "base_url": url,
        "tokenizer": str(llm),
        "max_model_len": CONTEXT,
    },
    "vllm": lambda llm, url: {
        "model": str(llm),
        "engine_kwargs": {"max_model_len": CONTEXT},
        "resources": {"cpus": 1},
    },
}


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return tiny_llm.write(tmp_path_factory.mktemp("llm") / "tiny")


@pytest.fixture(scope="module")
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


def made(name, llm, url):
    node = OUTSIDE.get(name) or {"name": name.partition("-")[0]} | NODES[name](llm, url)
    return used(parse(placed("engines", node)), components.find("engines", node["name"]))


@pytest.fixture(params=[*NODES, *OUTSIDE])
def engine(request, llm, endpoint):
    return made(request.param, llm, endpoint.url)


@pytest.fixture(params=[name for name in [*NODES, *OUTSIDE] if name != "vllm"])
def running(request, llm, endpoint, ray_session):
    return made(request.param, llm, endpoint.url)


def prompt(prompt_id="p1", text="a wing", system="Be short.", sampling=PLAIN, **fields):
    return Prompt(prompt_id, system, lambda cut: f"{cut[0]}\nSay {prompt_id}.", (text,), sampling, **fields)


def length(row):
    return len(row["tokenized_prompt"]) if "tokenized_prompt" in row else row["prompt_tokens"]


def test_every_engine_is_here():
    assert {name.partition("-")[0] for name in NODES} == set(components.names("engines"))


def test_what_it_declares(engine):
    assert engine.model
    assert isinstance(engine.model, str)
    assert engine.engines >= 1
    assert engine.gpus >= 0
    assert engine.sequences >= 1


def test_one_for_a_probe_gives_the_same_answers(engine):
    """Resources decide speed alone, and are not in the fingerprint."""
    one = engine.alone(8)
    assert one.engines == 1
    assert type(one) is type(engine)
    assert canonical(one) == canonical(engine)


def test_a_row_tells_its_length(engine):
    row = engine.load()(prompt(), 7)
    assert length(row) > 0
    assert row["cut"] == 0
    assert not set(row) & {"prompt_id", "item", "facts"}


def test_rows_of_one_task_make_a_table(engine):
    write = engine.load()
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}}}
    for sampling in (PLAIN, Sampling(1, choices=("0", "3")), Sampling(9, json_schema=schema)):
        rows = [write(prompt(f"p{n}", "wing " * n, sampling=sampling), n) for n in range(4)]
        table = pa.Table.from_pylist(rows)
        assert table.to_pylist() == rows


def test_the_same_row_for_the_same_prompt(engine):
    writes = [each.load() for each in (engine, pickle.loads(pickle.dumps(engine)))]
    rows = [write(prompt(f"p{n}", "wing " * n), n) for n in range(3) for write in (*writes, writes[0])]
    assert rows[0] == rows[1] == rows[2]
    assert rows[3] == rows[4] == rows[5]
    assert rows[0] != rows[3] != rows[6]


def test_a_document_is_cut_and_the_instructions_are_not(engine):
    write = engine.load()
    empty, long = (length(write(prompt(text=text), 7)) for text in ("", "the wing " * 20_000))
    row = write(prompt(text="the wing " * 20_000, max_text_tokens=30), 7)
    assert row["cut"] == 1
    # A cut may fall between two tokens that would else be one.
    assert empty < length(row) <= empty + 30 + 2
    assert length(row) < long


def test_a_prompt_that_cannot_fit_is_too_long(engine):
    """Of its documents nothing is left to cut."""
    write = engine.load()
    with pytest.raises(TooLong):
        write(prompt(system="Be short. " * 50_000, text="the wing " * 100), 7)


def test_every_prompt_is_answered_once(running):
    import ray

    write, number = running.load(), 50
    rows = [
        {"prompt_id": f"p{n}", "item": n % 3, "facts": json.dumps({"n": n}), **write(prompt(f"p{n}"), n)}
        for n in range(number)
    ]
    answered = running.answer(ray.data.from_items(rows, override_num_blocks=5)).take_all()
    assert sorted(row["prompt_id"] for row in answered) == sorted(row["prompt_id"] for row in rows)
    asked = {row["prompt_id"]: row for row in rows}
    for row in answered:
        assert {name: row[name] for name in KEPT} == {name: asked[row["prompt_id"]][name] for name in KEPT}
        assert row["finish"] in FINISHES
        assert (row["finish"] == "error") == bool(row["error"])
        for name, kind in ANSWER.items():
            assert isinstance(row[name], kind) or (kind is list and not len(row[name]))
        assert row["tokens_in"] >= 0
        assert row["tokens_out"] >= 0
