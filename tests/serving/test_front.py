"""What is answered over HTTP, and what is refused; with a search that finds nothing."""

import asyncio
import http.client
import json
from urllib.parse import quote

import pytest

from gradret.serving import front as front_module
from gradret.serving.access import digest
from gradret.serving.front import Front, Rules
from gradret.serving.wanted import MOST_BYTES, MOST_CHARACTERS

from .listening import listening

MANY = 1_000_000
TOKEN = "correct-horse-battery"
ABOUT = {"run": "secret-run", "systems": ["tuned", "base"], "documents": 3}


async def nothing(asked):
    if asked.query == "fail":
        raise ZeroDivisionError("the query is fail")
    if asked.query == "wait":
        await asyncio.sleep(60)
    return {name: [] for name in asked.systems}


def front(host="127.0.0.1", token=None, client_rate=MANY):
    return Front(Rules(host, digest(token) if token else None, client_rate, MANY), ABOUT, nothing)


@pytest.fixture(scope="module")
def port():
    with listening(front()) as port:
        yield port


@pytest.fixture(scope="module")
def guarded():
    with listening(front("0.0.0.0", TOKEN)) as port:
        yield port


def ask(port, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def error(answer, status):
    """The JSON of a refusal, whose form is the same for all."""
    assert answer[0] == status
    body = json.loads(answer[2])
    assert list(body) == ["error", "expected", "came"]
    assert "Access-Control-Allow-Origin" not in answer[1]
    return body


def post(port, value, **headers):
    body = value if isinstance(value, (bytes, str)) else json.dumps(value)
    return ask(port, "/search", "POST", body, **({"Content_Type": "application/json"} | headers))


def test_a_search_by_address_and_by_body(port):
    for answer in (
        ask(port, "/search?q=a%20b&system=base,tuned&top=3"),
        ask(port, "/search?q=a+b&system=base&system=tuned&top=3"),
        post(port, {"q": "a b", "system": ["base", "tuned"], "top": 3}),
    ):
        assert answer[0] == 200
        assert json.loads(answer[2]) == {"query": "a b", "top": 3, "systems": {"base": [], "tuned": []}}
    assert json.loads(ask(port, "/search?q=a")[2]) == {"query": "a", "top": 10, "systems": {"tuned": []}}
    assert json.loads(post(port, {"q": "a"})[2]) == {"query": "a", "top": 10, "systems": {"tuned": []}}


@pytest.mark.parametrize(
    ("query", "status", "what"),
    [
        ("", 400, "q: no query"),
        ("q=", 400, "q: no query"),
        ("q=%20%09", 400, "q: no query"),
        (f"q={'a' * (MOST_CHARACTERS + 1)}", 413, "q: too long"),
        ("q=a&system=best", 400, "system: unknown"),
        ("q=a&system=", 400, "system: unknown"),
        ("q=a&top=0", 400, "top: out of range"),
        ("q=a&top=101", 400, "top: out of range"),
        ("q=a&top=-1", 400, "top: out of range"),
        ("q=a&top=1e1", 400, "top: out of range"),
        (f"q=a&top={'9' * 5000}", 400, "top: out of range"),
        ("q=a&k=3", 400, "unknown parameter"),
    ],
)
def test_wrong_parameters(port, query, status, what):
    body = error(ask(port, f"/search?{query}"), status)
    assert body["error"] == what
    assert len(body["came"]) < 200


@pytest.mark.parametrize(
    ("body", "status", "what"),
    [
        ("", 400, "the body is not JSON"),
        ("{", 400, "the body is not JSON"),
        (b"\xff\xfe", 400, "the body is not JSON"),
        ("[" * 50_000, 400, "the body is not JSON"),
        ("9" * 5_000, 400, "the body is not JSON"),
        ([], 400, "the body is no object"),
        ({"q": 3}, 400, "q: no query"),
        ({"q": "\ud800"}, 400, "q: not Unicode"),
        ({"q": "a", "top": "3"}, 400, "top: out of range"),
        ({"q": "a", "top": True}, 400, "top: out of range"),
        ({"q": "a", "system": []}, 400, "system: unknown"),
        ({"q": "a", "system": [["tuned"]]}, 400, "system: unknown"),
        ({"q": "a", "system": {"tuned": 1}}, 400, "system: unknown"),
        ({"q": "a" * MOST_BYTES}, 413, "the body is too long"),
    ],
)
def test_wrong_bodies(port, body, status, what):
    assert error(post(port, body), status)["error"] == what


def test_a_body_without_a_length_is_not_read_to_its_end(port):
    parts = iter([b"x" * 1024] * (MOST_BYTES // 1024 + 1))
    answer = ask(port, "/search", "POST", parts, Content_Type="application/json")
    assert error(answer, 413)["came"] == "more bytes"


def test_a_form_of_another_site_needs_a_content_type_that_browsers_ask_for_first(port):
    assert error(post(port, {"q": "a"}, Content_Type="text/plain"), 415)["came"] == "text/plain"
    allowed = ask(port, "/search", "OPTIONS", Origin="http://evil.example", Access_Control_Request_Method="POST")
    assert error(allowed, 403)["error"] == "request of another origin"


def test_paths_and_methods(port):
    assert error(ask(port, "/docs"), 404)["came"] == "/docs"
    answer = ask(port, "/about", "DELETE")
    assert error(answer, 405)
    assert answer[1]["Allow"] == "GET"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000"])
def test_names_of_this_machine(port, host):
    assert ask(port, "/about", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.1"]
)
def test_names_that_point_to_this_machine_only_by_rebinding(port, host):
    assert error(ask(port, "/", Host=host), 403)["error"] == "wrong Host header"


def test_pages_of_other_origins(port):
    own = f"127.0.0.1:{port}"
    assert ask(port, "/about", Host=own, Origin=f"http://{own}")[0] == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        assert error(ask(port, "/about", Host=own, Origin=origin), 403)["error"] == "request of another origin"


def test_without_the_token_nothing_of_the_run_is_told(guarded):
    answers = [ask(guarded, path) for path in ("/", "/health", "/about", "/search?q=a")]
    assert [answer[0] for answer in answers] == [200, 200, 401, 401]
    assert json.loads(answers[1][2]) == {"status": "ok", "token": True}
    assert answers[2][1]["WWW-Authenticate"] == "Bearer"
    assert not any(b"secret-run" in answer[2] for answer in answers)


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"]
)
def test_wrong_tokens(guarded, given):
    body = error(ask(guarded, "/about", Authorization=given), 401)
    assert "correct" not in json.dumps(body)


def test_the_token(guarded):
    assert ask(guarded, "/about", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(guarded, "/about", Authorization=f"bearer {TOKEN}", Host="search.example")[0] == 200
    assert ask(guarded, f"/about?token={TOKEN}")[0] == 401
    assert json.loads(ask(guarded, "/search?q=a", Authorization=f"Bearer {TOKEN}")[2])["systems"] == {"tuned": []}


def test_too_many_requests_wrong_tokens_included():
    with listening(front("0.0.0.0", TOKEN, client_rate=0.01)) as port:
        assert ask(port, "/about", Authorization="Bearer guess")[0] == 401
        answer = ask(port, "/about", Authorization=f"Bearer {TOKEN}")
        assert error(answer, 429)["error"] == "too many requests"
        assert int(answer[1]["Retry-After"]) in range(90, 101)


def test_a_failure_is_json_and_its_log_has_no_query(port, caplog):
    assert error(ask(port, "/search?q=fail"), 500)["error"] == "internal error"
    assert "a request failed" in caplog.text
    assert "q=fail" not in caplog.text


def test_a_search_that_takes_too_long(port, monkeypatch):
    monkeypatch.setattr(front_module, "_SECONDS", 0.05)
    assert error(ask(port, "/search?q=wait"), 504)["expected"] == "at most 0.05 s"


def test_headers_of_every_answer(port):
    for path in ("/", "/health", "/about", "/search?q=a", f"/{quote('<b>')}"):
        _, headers, _ = ask(port, path)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
