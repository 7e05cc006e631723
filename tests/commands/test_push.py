"""Upload to a Hub: a local HTTP server with the endpoints that huggingface_hub asks for."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gradret.cli import main
from gradret.commands.export import export

from .test_export import run, storage  # noqa: F401 - fixtures

TOKEN = "hf_right"


class Hub(ThreadingHTTPServer):
    """Repositories by id, whose files are those of the last commit; ``broken`` drops the connection in a commit."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.public, self.asked, self.broken, self.read_only = {}, set(), [], False, False
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.respond(b"")

    def do_POST(self):
        length = self.headers["Content-Length"]
        self.respond(self.rfile.read(int(length)) if length else self.chunked())

    def chunked(self):
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def respond(self, body):
        hub, path = self.server, self.path.partition("?")[0]
        hub.asked.append(path)
        repository = "/".join(path.split("/")[3:5])
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid credentials"}, 401)
        if path == "/api/whoami-v2":
            return self.answer({"name": "me", "type": "user", "orgs": [], "auth": {}})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if hub.read_only:
                return self.answer({"error": "no write role"}, 403)
            status = 409 if name in hub.repositories else 200
            if status == 200:
                hub.repositories[name] = {}
                hub.public |= set() if asked.get("visibility") == "private" else {name}
            return self.answer({"url": f"{hub.url}/{name}", "name": name}, status)
        if path == "/api/validate-yaml":
            errors = [{"message": "unknown license"}] if "license: mine" in json.loads(body)["content"] else []
            return self.answer({"errors": errors, "warnings": []}, 400 if errors else 200)
        if repository not in hub.repositories:
            return self.answer({"error": f"no {path}"}, 404)
        if path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer({"files": files})
        if path.endswith("/commit/main"):
            if hub.broken:
                return self.connection.close()
            lines = [json.loads(line) for line in body.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            hub.repositories[repository] |= {file["path"]: base64.b64decode(file["content"]) for file in files}
            return self.answer(
                {"commitUrl": f"{hub.url}/{repository}/commit/1", "commitOid": "1", "pullRequestUrl": None}
            )
        return self.answer({"id": repository, "private": repository not in hub.public, "siblings": []})


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    # huggingface_hub reads HF_ENDPOINT when it is imported.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()


def test_the_verified_folder_is_one_commit(run, hub, tmp_path, capsys):  # noqa: F811
    assert main(["push", str(run), "me/toy", "--private", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"url": f"{hub.url}/me/toy/commit/1"}
    assert "100 docs verified" in err
    folder = export(run, tmp_path / "given")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert hub.repositories["me/toy"] == files
    assert not hub.public
    assert sum(path.endswith("/commit/main") for path in hub.asked) == 1
    # Again: the repository exists.
    assert main(["push", str(run), "me/toy"]) == 0


def test_a_public_repository_takes_no_private_model(run, hub, capsys):  # noqa: F811
    hub.repositories["me/toy"], hub.public = {}, {"me/toy"}
    assert main(["push", str(run), "me/toy", "--private"]) == 2
    assert "me/toy exists and is public; name another repository, or drop --private" in capsys.readouterr().err
    assert hub.repositories["me/toy"] == {}


def test_an_upload_that_breaks_off_publishes_nothing_and_can_be_repeated(run, hub, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setattr("time.sleep", lambda _: None)  # huggingface_hub waits 23 s in all before it gives up
    hub.broken = True
    assert main(["push", str(run), "me/toy"]) == 1
    err = capsys.readouterr().err
    assert f"push: the connection to {hub.url} failed (" in err
    assert "published only when it is complete; run the same command again" in err
    assert "Traceback" not in err
    assert hub.repositories["me/toy"] == {}
    hub.broken = False
    assert main(["push", str(run), "me/toy"]) == 0
    assert "model.safetensors" in hub.repositories["me/toy"]


def test_a_token_that_may_only_read(run, hub, capsys):  # noqa: F811
    hub.read_only = True
    assert main(["push", str(run), "me/toy"]) == 2
    assert "push: the token may not write to me/toy (403: no write role); set HF_TOKEN" in capsys.readouterr().err


def test_a_card_that_the_hub_refuses(run, hub, capsys):  # noqa: F811
    (run / "model" / "README.md").write_text("---\nlicense: mine\n---\n")
    assert main(["push", str(run), "me/toy"]) == 1
    err = capsys.readouterr().err
    assert "push: Invalid metadata in README.md. - unknown license; correct the config's license" in err
    assert hub.repositories["me/toy"] == {}


@pytest.mark.parametrize(
    ("token", "message"),
    [("hf_wrong", "refused the token (401: "), ("", "there is no token for http")],
)
def test_a_token_is_refused_before_the_export(hub, tmp_path, token, message):
    """By HF_ENDPOINT, in a process of its own; there is no run, and none is looked for."""
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "gradret.cli", "push", str(tmp_path / "none"), "me/toy"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not hub.repositories


def test_a_hub_that_is_not_there(run, hub, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(run), "me/toy"]) == 1
    assert "push: the connection to http://127.0.0.1:9 failed (" in capsys.readouterr().err


def test_a_name_that_is_no_repository(run, hub, capsys):  # noqa: F811
    assert main(["push", str(run), "me/to y"]) == 2
    assert "push: 'me/to y' is no id of the Hub, NAMESPACE/NAME" in capsys.readouterr().err
    assert not hub.asked
