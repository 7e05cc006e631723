"""``gradret serve`` as a user starts and ends it; and what it refuses before it starts."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from gradret.cli import main
from gradret.serving import server

from ..processes import kill_tree, wait_until
from ..small_run import ROOT


def free_port():
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def fetch(port, path, token=""):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", headers=headers)) as response:
        return json.load(response)


@pytest.fixture(scope="module")
def served(finished, tmp_path_factory):
    """A server on all interfaces, which needs a token: its process, port and what it printed."""
    port, errors = free_port(), tmp_path_factory.mktemp("serve") / "stderr"
    command = [sys.executable, "-m", "gradret.cli", "serve", str(finished), "--host", "0.0.0.0", "--port", str(port)]
    with errors.open("w") as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, text=True, cwd=ROOT, start_new_session=True
        )
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines[1], errors.read_text()
        yield process, port, lines
    finally:
        kill_tree(process)


def test_it_serves_ends_on_interruption_and_keeps_its_token(served):
    process, port, (line, secret) = served
    assert (
        line == f"serving small (268 documents; tuned, base, bm25, hybrid) at http://0.0.0.0:{port}/; Ctrl-C ends it\n"
    )
    token = re.fullmatch(r"token, shown only now: (\S{43})\n", secret)[1]
    found = fetch(port, "/search?q=wait+for+a+process&system=tuned,base,bm25,hybrid", token)["systems"]
    assert {system: len(hits) for system, hits in found.items()} == dict.fromkeys(
        ["tuned", "base", "bm25", "hybrid"], 10
    )
    with pytest.raises(HTTPError, match="401"):
        fetch(port, "/search?q=wait")

    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    open_ports = {
        each.laddr[:2]
        for one in tree
        for each in one.net_connections("inet")
        if each.status == psutil.CONN_LISTEN and each.laddr.ip.removeprefix("::ffff:") != "127.0.0.1"
    }
    assert open_ports == {("0.0.0.0", port)}
    assert {one.nice() for one in tree} == {psutil.Process().nice()}
    shown = [text for one in tree for text in [*one.cmdline(), *one.environ().values()]]
    assert not any(token in text for text in shown)
    (session,) = {Path(text.partition("=")[2]).parent for text in shown if text.startswith("--log_dir=")}
    logs = [path.read_text(errors="replace") for path in session.rglob("*") if path.is_file()]
    assert logs
    assert not any(token in text or "wait+for" in text or "wait for a process" in text for text in logs)

    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.read() == "stopped\n"
    assert process.wait() == 0
    wait_until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in tree))


def refusal(capsys, *arguments):
    assert main(["serve", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_folder_that_is_no_finished_run(tmp_path, capsys):
    assert "is not the folder of a finished run" in refusal(capsys, tmp_path, "--port", free_port())


def test_a_port_in_use(tmp_path, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        expected = (
            f"gradret: cannot listen at 127.0.0.1, port {port}: Address already in use; choose another --host or --port"
        )
        assert refusal(capsys, tmp_path, "--port", port) == expected


def test_an_address_of_another_machine(tmp_path, capsys):
    assert "cannot listen at 192.0.2.1, port 8000" in refusal(capsys, tmp_path, "--host", "192.0.2.1")


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_a_port_that_is_none(tmp_path, capsys, port):
    with pytest.raises(SystemExit):
        main(["serve", str(tmp_path), f"--port={port}"])
    assert "expected a port from 1 to 65535" in capsys.readouterr().err


def test_more_replicas_than_cores(tmp_path, capsys):
    assert "expected at most" in refusal(capsys, tmp_path, "--replicas", 10_000)


def test_a_missing_extra(tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "grpc_reflection" else find(name))
    expected = "gradret: gradret serve: grpc_reflection not installed; pip install 'gradret[cpu,serve]'"
    assert refusal(capsys, tmp_path) == expected


def test_a_cluster(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert "unset RAY_ADDRESS" in refusal(capsys, tmp_path)


@pytest.mark.parametrize(
    ("host", "given", "needed", "made"),
    [
        ("127.0.0.1", "", False, False),
        ("::1", "", False, False),
        ("localhost", "", False, False),
        ("127.0.0.1", "x" * 16, True, False),
        ("0.0.0.0", "x" * 16, True, False),
        ("0.0.0.0", "", True, True),
        ("::", "", True, True),
        ("localhost.example", "", True, True),
    ],
)
def test_when_a_token_is_needed(monkeypatch, host, given, needed, made):
    monkeypatch.setenv("GRADRET_SERVE_TOKEN", given)
    token, is_new = server._token(host)
    assert (bool(token), is_new) == (needed, made)
    assert not given or token == given
    assert "GRADRET_SERVE_TOKEN" not in os.environ


def test_a_token_that_can_be_guessed(monkeypatch, capsys, finished):
    monkeypatch.setenv("GRADRET_SERVE_TOKEN", "x" * 15)
    expected = "gradret: GRADRET_SERVE_TOKEN: expected at least 16 characters, came 15"
    assert refusal(capsys, finished, "--port", free_port()) == expected
