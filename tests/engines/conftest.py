"""A tiny model and vLLM's server, both created once."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from ..processes import wait_until
from . import tiny_llm

SERVED = 4096
"""The server's context."""


@pytest.fixture(scope="session")
def llm(tmp_path_factory):
    """A model's folder."""
    return tiny_llm.write(tmp_path_factory.mktemp("llm") / "tiny")


@pytest.fixture(scope="session")
def vllm():
    """Fails, loudly, where the engine is not installed: these tests are what shows that it works."""
    if importlib.util.find_spec("vllm") is None:
        pytest.fail("vLLM is not installed, so nothing here can be tested; make llm installs its CPU build")


@pytest.fixture(scope="session")
def vllm_server(vllm, llm, tmp_path_factory):
    """Base URL and model of an OpenAI-compatible server on loopback."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(llm), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--max-model-len", str(SERVED), "--enforce-eager", "--dtype", "float32"]
    # vLLM 0.29's CPU build dies of a seeded prompt that is prefilled in two parts.
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(SERVED)]
    # Else a random model fills its JSON with line ends.
    command += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1", str(llm)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(url, server, log):
    wait_until(lambda: answers(url), server, log)


def answers(url):
    try:
        with urllib.request.urlopen(url):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False
