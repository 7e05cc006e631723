import asyncio
import json
import logging
import math
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from gradret.config import loading
from gradret.engines import Prompt, Sampling, TooLong
from gradret.engines._counting import Bytes, Tokenizer
from gradret.engines.openai import OpenAI, OpenAIResources, _Client
from gradret.errors import ConfigError, StageError
from gradret.store.fingerprint import canonical
from tests.engines import tiny_llm

KEY = "sk-a-key-that-must-stay-secret"
PLAIN = Sampling(20)


class Endpoint:
    """A chat endpoint on loopback that answers as it is told, and keeps what it was sent."""

    def __init__(self):
        self.respond = lambda body, number: chat("fine")
        self.models = (200, {}, {"object": "list", "data": [{"id": "m", "object": "model"}]})
        self.requests = []
        self.now = self.most = 0
        self.lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._send(*endpoint.models)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with endpoint.lock:
                    number = len(endpoint.requests)
                    endpoint.requests.append((self.path, self.headers, body))
                    endpoint.now += 1
                    endpoint.most = max(endpoint.most, endpoint.now)
                response = endpoint.respond(body, number)
                with endpoint.lock:  # before it is sent: the client may ask again at once
                    endpoint.now -= 1
                self._send(*response)

            def _send(self, status, headers, content):
                if status == 0:  # hang up
                    self.close_connection = True
                    return
                raw = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": len(raw), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def bodies(self):
        return [body for _, _, body in self.requests]


def chat(text, finish="stop", logprobs=None, **message):
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    return (
        200,
        {},
        {"id": "x", "object": "chat.completion", "choices": [choice | {"logprobs": logprobs}], "usage": usage},
    )


def refuse(status, message, **headers):
    return status, headers, {"error": {"message": message}}


@pytest.fixture
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


def engine_of(endpoint, *, resources=None, **fields):
    resources = OpenAIResources(**{"retries": 0, "timeout": 30.0, **(resources or {})})
    return OpenAI(model="m", base_url=endpoint.url, resources=resources, **fields)


def prompt(prompt_id, sampling=PLAIN, texts=("A wing.",), **fields):
    return Prompt(prompt_id, "Be short.", lambda cut: "\n".join([*cut, f"Say {prompt_id}."]), texts, sampling, **fields)


def rows_of(engine, prompts, seed=5):
    write = engine.load()
    return [{"prompt_id": each.prompt_id, "item": 7, "facts": "{}", **write(each, seed)} for each in prompts]


def ask(engine, *prompts, batches=1):
    """What a client answers to the prompts, dealt to so many calls at the same time."""
    rows = rows_of(engine, prompts)

    async def run():
        client = _Client(engine)
        answered = await asyncio.gather(*(client(pa.Table.from_pylist(rows[part::batches])) for part in range(batches)))
        await client.client.close()
        return pa.concat_tables(answered)

    return asyncio.run(run()).to_pylist()


def test_an_answer_comes_back_beside_what_was_asked(endpoint):
    endpoint.respond = lambda body, number: chat("lift of a wing")
    (answered,) = ask(engine_of(endpoint), prompt("p1"))
    assert answered.pop("seconds") > 0
    assert [answered] == [
        {
            "prompt_id": "p1",
            "item": 7,
            "facts": "{}",
            "cut": 0,
            "text": "lift of a wing",
            "finish": "stop",
            "tokens_in": 11,
            "tokens_out": 3,
            "logprobs": [],
            "error": "",
        }
    ]


def test_a_request_says_how_the_answer_is_drawn(endpoint):
    sampling = Sampling(50, min_tokens=4, temperature=0.8, top_p=0.9)
    engine = engine_of(endpoint, extra_body={"top_k": 20, "temperature": 0.5, "min_tokens": 2})
    ask(engine, prompt("p1", sampling))
    path, _, body = endpoint.requests[0]
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "A wing.\nSay p1."}],
        "max_tokens": 50,
        "min_tokens": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 5,
        "top_k": 20,
    }


def test_min_tokens_of_1_is_not_sent(endpoint):
    ask(engine_of(endpoint), prompt("p1"))
    assert "min_tokens" not in endpoint.bodies[0]


def test_openai_itself_gets_its_own_names():
    request = json.loads(OpenAI(model="m").load()(prompt("p1", Sampling(50, min_tokens=4)), 5)["request"])
    assert request["max_completion_tokens"] == 50
    assert {"max_tokens", "min_tokens"}.isdisjoint({*request, *request["extra_body"]})


def test_a_schema_is_sent_strictly(endpoint):
    schema = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 9}}, "required": ["text"]}
    ask(engine_of(endpoint), prompt("p1", Sampling(50, json_schema=schema)))
    sent = endpoint.bodies[0]["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"] == schema
    assert sent["json_schema"]["strict"] is True


def test_documents_are_cut_to_the_context_and_instructions_are_not(endpoint):
    engine = engine_of(endpoint, max_model_len=300)
    answered = ask(engine, prompt("p1", Sampling(100), texts=("wing " * 1000, "short"), max_text_tokens=10_000))
    sent = endpoint.bodies[0]["messages"]
    long, short, instruction = sent[1]["content"].split("\n")
    assert (short, instruction, sent[0]["content"]) == ("short", "Say p1.", "Be short.")
    # 3 bytes a token, 16 tokens a message, rounded up for each message.
    tokens = sum(math.ceil(len(message["content"].encode()) / 3) + 16 for message in sent)
    assert 195 < tokens <= 200
    assert ("wing " * 1000).startswith(long)
    assert answered[0]["cut"] == 1


def test_a_prompt_that_cannot_fit_is_refused():
    with pytest.raises(TooLong):
        OpenAI(model="m", max_model_len=60).load()(prompt("p1", Sampling(30)), 0)


# Failures


def test_429_and_5xx_and_broken_connections_are_tried_again(endpoint):
    soon = {"Retry-After": "0.01"}
    failures = [refuse(429, "slow down", **soon), refuse(500, "oops", **soon), (0, {}, "")]
    endpoint.respond = lambda body, number: failures[number] if number < 3 else chat("at last")
    answered = ask(engine_of(endpoint, resources={"retries": 3}), prompt("p1"))
    assert (answered[0]["text"], answered[0]["finish"]) == ("at last", "stop")
    assert endpoint.bodies == [endpoint.bodies[0]] * 4


def test_retries_end_and_other_prompts_go_on(endpoint):
    def respond(body, number):
        lost = "Say lost." in body["messages"][1]["content"]
        return refuse(503, "no\n  capacity", **{"Retry-After": "0.01"}) if lost else chat("fine")

    endpoint.respond = respond
    answered = ask(engine_of(endpoint, resources={"retries": 2}), prompt("p1"), prompt("lost"), prompt("p2"))
    assert [row["finish"] for row in answered] == ["stop", "error", "stop"]
    assert (answered[1]["text"], answered[1]["error"]) == ("", "503: no capacity")
    assert len(endpoint.requests) == 2 + 3


def test_what_cannot_get_better_is_not_tried_again(endpoint):
    endpoint.respond = lambda body, number: refuse(400, "prompt too long")
    answered = ask(engine_of(endpoint, resources={"retries": 3}), prompt("p1"))
    assert (answered[0]["finish"], answered[0]["error"]) == ("error", "400: prompt too long")
    assert len(endpoint.requests) == 1


def test_an_endpoint_that_is_gone_is_an_error_row():
    engine = OpenAI(model="m", base_url="http://127.0.0.1:9/v1", resources=OpenAIResources(retries=0))
    answered = ask(engine, prompt("p1"))
    assert answered[0]["finish"] == "error"
    assert "Connection" in answered[0]["error"]


def test_no_answer_in_time_is_an_error_row(endpoint):
    free = threading.Event()
    endpoint.respond = lambda body, number: free.wait(20) and chat("late")
    answered = ask(engine_of(endpoint, resources={"timeout": 0.2}), prompt("p1"))
    free.set()
    assert (answered[0]["finish"], answered[0]["error"]) == ("error", "Request timed out.")


@pytest.mark.parametrize(
    ("response", "text", "finish", "error"),
    [
        (chat("half a", "length"), "half a", "length", ""),
        (chat(None), "", "stop", ""),
        (chat("said", None), "said", "stop", ""),
        (chat(None, refusal="I will not."), "I will not.", "error", "refusal"),
        (chat("half", "content_filter"), "half", "error", "refusal"),
        (chat("", "tool_calls"), "", "error", "finish_reason tool_calls"),
        ((200, {}, {"choices": [], "usage": None}), "", "error", "the response is not a chat completion"),
        ((200, {}, "{"), "", "error", "the response is not a chat completion"),
        ((200, {"Content-Type": "text/html"}, "<html>"), "", "error", "the response is not a chat completion"),
        ((400, {}, "nothing here"), "", "error", "Error code: 400"),
    ],
)
def test_how_an_answer_ended(endpoint, response, text, finish, error):
    endpoint.respond = lambda body, number: response
    answered = ask(engine_of(endpoint), prompt("p1"))[0]
    assert (answered["text"], answered["finish"]) == (text, finish)
    assert answered["error"].startswith(error)
    assert bool(answered["error"]) == (finish == "error")


def test_usage_that_is_not_sent_counts_nothing(endpoint):
    status, headers, content = chat("fine")
    endpoint.respond = lambda body, number: (status, headers, content | {"usage": None})
    answered = ask(engine_of(endpoint), prompt("p1"))[0]
    assert (answered["text"], answered["tokens_in"], answered["tokens_out"]) == ("fine", 0, 0)


# Choices


def first_token(drawn, **top):
    """Log-probabilities as an endpoint sends them: the drawn token and the likeliest ones, as shares."""

    def entry(token, share):
        return {"token": token, "logprob": math.log(share), "bytes": list(token.encode())}

    likeliest = [entry(token, share) for token, share in top.items()]
    return {"content": [entry(*drawn) | {"top_logprobs": likeliest}]}


@pytest.mark.parametrize(
    ("drawn", "top", "shares"),
    [
        # The drawn one among the likeliest counts once; " 2" adds to "2"; "20" and "2 " are other tokens.
        (("2", 0.5), {"2": 0.5, " 2": 0.25, "1": 0.125, "20": 0.05, "2 ": 0.01}, [0.125, 0.75, 0.0]),
        # The drawn one may be none of the likeliest.
        (("3", 0.01), {"2": 0.5, "yes": 0.25}, [0.0, 0.5, 0.01]),
    ],
)
def test_log_probabilities_of_choices(endpoint, drawn, top, shares):
    endpoint.respond = lambda body, number: chat(drawn[0], "length", logprobs=first_token(drawn, **top))
    answered = ask(engine_of(endpoint), prompt("p1", Sampling(5, choices=("1", "2", "3"))))[0]
    assert [math.exp(logprob) for logprob in answered["logprobs"]] == pytest.approx(shares, rel=1e-12)
    sent = endpoint.bodies[0]
    assert (sent["logprobs"], sent["top_logprobs"], sent["max_tokens"]) == (True, 20, 1)


def test_an_endpoint_without_log_probabilities_is_an_error_row(endpoint):
    answered = ask(engine_of(endpoint), prompt("p1", Sampling(1, choices=("1", "2"))))[0]
    assert (answered["finish"], answered["error"]) == ("error", "the endpoint sent no log-probabilities")


# The key


def test_the_key_reaches_the_endpoint_and_nothing_else(endpoint, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx", "httpcore", "httpx2", "httpcore2"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    monkeypatch.setenv("TEAM_KEY", f" {KEY}\n")
    # An endpoint that repeats what it was sent, in errors and in answers' headers.
    failing = refuse(401, f"Incorrect API key provided: {KEY}.", **{"X-Key": KEY})
    endpoint.respond = lambda body, number: failing if number else chat("fine")
    engine = engine_of(endpoint, key_env="TEAM_KEY")
    engine.check()
    answered = ask(engine, prompt("p1"), prompt("p2"))
    assert {headers["Authorization"] for _, headers, _ in endpoint.requests} == {f"Bearer {KEY}"}
    assert sorted(row["error"] for row in answered) == ["", "401: Incorrect API key provided: ***."]
    seen = capfd.readouterr()
    written = [repr(engine), json.dumps(canonical(engine)), json.dumps(rows_of(engine, [prompt("p1")]))]
    assert not [text for text in [json.dumps(answered), caplog.text, *seen, *written] if KEY in text]


def test_the_key_is_in_no_error(endpoint, monkeypatch):
    monkeypatch.setenv("TEAM_KEY", KEY)
    endpoint.models = refuse(401, f"Incorrect API key provided: {KEY}.")
    with pytest.raises(ConfigError, match="TEAM_KEY") as error:
        engine_of(endpoint, key_env="TEAM_KEY").check()
    assert "401: Incorrect API key provided: ***" in str(error.value)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("key_env", ["NO_SUCH_KEY", ""])
def test_an_endpoint_without_a_key_is_sent_none(endpoint, monkeypatch, key_env):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(engine_of(endpoint, key_env=key_env), prompt("p1"))
    assert endpoint.requests[0][1]["Authorization"] == "Bearer none"


# Before any work


def test_an_endpoint_that_lists_the_model_passes_in_silence(endpoint, capsys):
    engine_of(endpoint).check()
    assert capsys.readouterr().err == ""


def test_a_model_that_is_not_listed_is_said_and_not_refused(endpoint, capsys):
    replace(engine_of(endpoint), model="other").check()
    assert f"{endpoint.url} does not list the model 'other'; continuing (it lists m)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "models", [(404, {}, "Not Found"), (200, {"Content-Type": "text/html"}, "<html>"), (200, {}, {})]
)
def test_an_endpoint_that_lists_nothing_is_said_and_not_refused(endpoint, capsys, models):
    endpoint.models = models
    engine_of(endpoint).check()
    assert "base_url usually ends in /v1" in capsys.readouterr().err


def test_an_endpoint_that_is_not_there_is_refused():
    with pytest.raises(StageError, match=r"cannot connect to http://127.0.0.1:9/v1: Connection error") as error:
        OpenAI(model="m", base_url="http://127.0.0.1:9/v1").check()
    assert "\n" not in str(error.value)


def test_openai_itself_wants_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        OpenAI(model="m").check()


def test_a_key_that_no_header_can_hold_is_refused(endpoint, monkeypatch):
    monkeypatch.setenv("TEAM_KEY", "sk-first\nsk-second")
    with pytest.raises(ConfigError, match="TEAM_KEY") as error:
        engine_of(endpoint, key_env="TEAM_KEY").check()
    assert "sk-" not in str(error.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)  # Python's own way to block an import
    with pytest.raises(ConfigError, match=r"pip install 'gradret\[openai\]'"):
        OpenAI(model="m").check()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_url": "localhost:8000"}, "^base_url must be a URL"),
        ({"base_url": "http://me:secret@host/v1"}, "^base_url must not contain a user or password"),
        ({"key_env": "gsk_abc"}, "^key_env must be the name of an environment variable"),
        ({"max_model_len": 0}, "max_model_len: must be at least 1"),
    ],
)
def test_wrong_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message) as error:
        OpenAI(model="m", **fields)
    assert "secret" not in str(error.value)
    assert "gsk_abc" not in str(error.value)


@pytest.mark.parametrize(
    "fields", [{"concurrency": 0}, {"clients": 0}, {"batch_size": 0}, {"retries": -1}, {"timeout": 0.0}]
)
def test_wrong_resources_are_refused(fields):
    with pytest.raises(ValueError, match=f"{next(iter(fields))}:? must be"):
        OpenAIResources(**fields)


def test_a_config_holds_it():
    engine = {"name": "openai", "model": "m", "extra_body": {"top_k": 3}, "resources": {"concurrency": 5}}
    generate = {"generator": {"name": "llm_queries", "engine": engine}}
    built = loading.parse({"name": "toy", "dataset": {"name": "pydocs"}, "generate": generate}).generate.generator
    assert built.engine == OpenAI(model="m", extra_body={"top_k": 3}, resources=OpenAIResources(concurrency=5))


# Counting


@pytest.mark.parametrize("text", ["", "wing", "Flügel über Flügel", "翼の揚力", "🛩🛩🛩"])
def test_bytes_cut_to_a_beginning_of_at_most_so_many_tokens(text):
    tokens = Bytes()
    for size in range(12):
        cut = tokens.cut(text, size)
        assert text.startswith(cut)
        assert len(cut.encode()) <= 3 * size
        left = text[len(cut) :]
        assert not left or len((cut + left[0]).encode()) > 3 * size  # and no shorter than need be


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_llm.write(tmp_path_factory.mktemp("model"))


def test_a_tokenizer_counts_with_the_chat_template(model):
    from transformers import AutoTokenizer

    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "the wing of an aircraft"}]
    oracle = AutoTokenizer.from_pretrained(model)
    expected = oracle.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert Tokenizer(str(model)).count(messages) == len(expected)


def test_a_tokenizer_whose_template_takes_no_system_message_counts_one_message(tmp_path):
    deny = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}" + tiny_llm.TEMPLATE
    tokens = Tokenizer(str(tiny_llm.write(tmp_path, deny)))
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "the wing"}]
    assert tokens.count(messages) == tokens.size("<|user|>Be short.\n\nthe wing</s><|assistant|>")


def test_a_tokenizer_whose_template_shows_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"engine openai: tokenizer .* drops the text.*or null"):
        Tokenizer(str(tiny_llm.write(tmp_path, "{{ messages[0].role }}")))


@pytest.mark.parametrize("text", ["the wing of an aircraft, über 翼 and 🛩", "", "翼翼翼"])
def test_a_tokenizer_cuts_to_a_beginning_of_at_most_so_many_tokens(model, text):
    tokens = Tokenizer(str(model))
    for size in range(tokens.size(text)):
        cut = tokens.cut(text, size)
        assert text.startswith(cut)
        assert size - 4 < tokens.size(cut) <= size  # a character has 4 bytes at most, each a token here at worst
    assert tokens.cut(text, tokens.size(text)) == text


def test_a_tokenizer_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="tokenizer"):
        OpenAI(model="m", tokenizer=str(tmp_path)).load()


# Many at once


def test_concurrency_is_reached_and_never_passed(endpoint):
    reached = threading.Event()

    def respond(body, number):
        if endpoint.now == 3:
            reached.set()
        reached.wait(10)
        time.sleep(0.005)  # more would come in, if they could
        return chat("fine")

    endpoint.respond = respond
    engine = engine_of(endpoint, resources={"concurrency": 3})
    answered = ask(engine, *(prompt(f"p{number}") for number in range(20)), batches=4)
    assert len(answered) == 20
    assert endpoint.most == 3


def test_on_ray_every_row_gets_its_own_answer(endpoint, ray_session):
    import ray

    def respond(body, number):
        said = body["messages"][1]["content"].rpartition("\n")[2]
        return refuse(400, "no") if said == "Say p13." else chat(said)

    endpoint.respond = respond
    engine = engine_of(endpoint, resources={"concurrency": 8, "batch_size": 4, "clients": 2})
    rows = rows_of(engine, [prompt(f"p{number}") for number in range(50)])
    answered = engine.answer(ray.data.from_items(rows, override_num_blocks=3)).take_all()
    assert len(answered) == len(endpoint.requests) == 50
    by_id = {row["prompt_id"]: row for row in answered}
    assert by_id.pop("p13")["error"] == "400: no"
    assert {prompt_id: row["text"] for prompt_id, row in by_id.items()} == {each: f"Say {each}." for each in by_id}
    assert len(by_id) == 49
    assert endpoint.most <= 16


@pytest.fixture
def served(vllm_server):
    base_url, model = vllm_server
    return OpenAI(model=model, base_url=base_url, tokenizer=model, max_model_len=512)


def test_vllms_server_answers_with_text_and_json(served, capsys):
    served.check()
    assert capsys.readouterr().err == ""
    text = {"type": "string", "minLength": 3, "maxLength": 9}
    schema = {"type": "object", "properties": {"text": text}, "required": ["text"], "additionalProperties": False}
    prompts = [prompt("free", Sampling(20, min_tokens=20)), prompt("json", Sampling(200, json_schema=schema))]
    free, structured = ask(served, *prompts)
    assert (free["finish"], free["tokens_out"]) == ("length", 20)
    assert structured["finish"] == "stop"
    # The grammar lets control characters into strings.
    assert 3 <= len(json.loads(structured["text"], strict=False)["text"]) <= 9


def test_vllms_server_repeats_an_answer_to_the_same_seed(served):
    (first,), (second,) = ask(served, prompt("p1")), ask(served, prompt("p1"))
    assert first.pop("seconds") > 0
    assert second.pop("seconds") > 0
    assert first == second


def test_a_prompt_is_as_long_as_vllms_server_finds_it(served):
    long = prompt("p1", Sampling(50), texts=("the wing of an aircraft, über 翼 " * 200,), max_text_tokens=10_000)
    answered = ask(served, long)[0]
    assert (answered["finish"] in {"stop", "length"}, answered["cut"]) == (True, 1)
    # The document filled what was left, but for the end of a character or word.
    assert 512 - 50 - 8 <= answered["tokens_in"] <= 512 - 50


def test_log_probabilities_are_those_of_transformers(served):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(served.model)
    model = AutoModelForCausalLM.from_pretrained(served.model).eval()
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "A wing.\nSay p1."}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False, return_tensors="pt")
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits[0, -1].double(), -1)
    likeliest = {index: tokenizer.decode([index]) for index in logprobs.topk(20).indices.tolist()}
    plain = {text.strip() for text in likeliest.values()}
    choices = sorted(text for text in plain if text.isascii() and text.isprintable() and text)
    assert len(choices) > 1
    shares = [
        sum(logprobs[index].exp().item() for index, text in likeliest.items() if text in {each, f" {each}"})
        for each in choices
    ]
    answered = ask(served, prompt("p1", Sampling(1, temperature=0.0, choices=(*choices, "no such token"))))[0]
    assert answered["tokens_in"] == ids.shape[1]
    assert answered["logprobs"][:-1] == pytest.approx([math.log(share) for share in shares], abs=1e-3)
    assert answered["logprobs"][-1] == -math.inf
