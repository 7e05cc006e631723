"""A local Ray accepts no connections of other machines or users."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ..processes import kill_tree, wait_until

# Starts Ray with its dashboard and a worker, and waits for its standard input to close.
DRIVER = """
import json, os, sys
import ray
from gradret.work.session import connect

@ray.remote
class Worker:
    def token_file(self):
        return os.environ["RAY_AUTH_TOKEN_PATH"]

before = dict(os.environ)
connect(dashboard=True)
worker = Worker.remote()
found = {"token": ray.get(worker.token_file.remote()), "address": ray.get_runtime_context().gcs_address}
found["changed"] = sorted(name for name in os.environ if "AUTH" in name and os.environ[name] != before.get(name))
print(json.dumps(found), flush=True)
sys.stdin.read()
"""
CLIENT = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).internal_kv_keys(b'', None)"
USERS = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}


@pytest.fixture(scope="module")
def driver():
    """A driver of a local Ray, started by a user with a token of another cluster."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        env=os.environ | USERS, cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            kill_tree(process)


def test_every_server_listens_on_this_machine_only(driver):
    process, _ = driver
    addresses = {}
    for each in (root := psutil.Process(process.pid), *root.children(recursive=True)):
        for socket in each.net_connections("inet"):
            if socket.status == psutil.CONN_LISTEN:
                addresses.setdefault(socket.laddr.ip.removeprefix("::ffff:"), []).append(" ".join(each.cmdline()))
    assert {"gcs_server", "raylet", "ray::Worker", "dashboard.py"} <= {
        word for line in addresses["127.0.0.1"] for word in line.replace("/", " ").split()
    }
    assert set(addresses) == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, False),
        (USERS, False),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "its own"}, True),
    ],
)
def test_a_client_needs_the_token(driver, settings, accepted):
    _, found = driver
    settings = {name: found["token"] if value == "its own" else value for name, value in settings.items()}
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, found["address"]],
        env=others | settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == accepted, done.stderr
    assert accepted or "AuthenticationError" in done.stderr


def test_the_token_is_new_and_its_file_for_this_user_only(driver):
    file = Path(driver[1]["token"])
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(file.read_text())) == 32
    assert file.read_text() != USERS["RAY_AUTH_TOKEN"]


def test_the_user_s_own_token_is_kept_for_other_clusters(driver):
    assert driver[1]["changed"] == []


def test_the_token_goes_with_its_ray(driver):
    process, found = driver
    process.stdin.close()
    wait_until(lambda: not Path(found["token"]).exists())
