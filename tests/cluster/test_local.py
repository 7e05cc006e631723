"""Real clusters on this machine: Ray's autoscaler with cluster/local.yaml, and the jobs of ``gradret submit``."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import requests

from ..processes import PATIENCE, wait_until
from ..small_run import SMALL, command

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef" * 4
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
PATHS = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])


class Cluster:
    """A head with token authentication and a dashboard.

    Args:
        options: of ``ray start``.
        provider: environment variables of the autoscaler's provider of nodes.
    """

    def __init__(self, *options, **provider):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # Short: the path of a Unix socket has at most 107 bytes.
        self.folder = tempfile.mkdtemp(prefix="ray-")
        self.provider, self.dashboard = provider, f"http://127.0.0.1:{port}"
        # Of two Rays on one machine, the agent of the second cannot have the usual port.
        ports = [f"--dashboard-port={port}", "--dashboard-agent-listen-port=0"]
        self.options = [f"--temp-dir={self.folder}", *ports, *options]
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": PATHS,
        }

    def __enter__(self):
        environment = os.environ | self.environment | self.provider
        start = [*RAY, "start", "--head", *self.options]
        done = subprocess.run(start, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self.address = re.search(r"--address='([\d.:]+)'", done.stdout)[1]
        wait_until(self._answers)
        return self

    def __exit__(self, *_):
        """End this cluster's processes; ``ray stop`` would end those of others too."""
        lines = ((one, " ".join(one.info["cmdline"] or [])) for one in psutil.process_iter(["cmdline"]))
        own = [one for one, line in lines if self.folder in line]
        for process in own:
            process.kill()
        psutil.wait_procs(own, timeout=PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self):
        """Whether the dashboard, which starts last, answers."""
        try:
            return self.nodes() > 0
        except requests.ConnectionError:
            return False

    def nodes(self):
        """How many nodes are alive."""
        answer = requests.get(
            f"{self.dashboard}/nodes?view=summary", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
        )
        return sum(node["raylet"]["state"] == "ALIVE" for node in answer.json()["data"]["summary"])


def ranking(run):
    return (run / "runs" / "tuned.trec").read_bytes()


def test_a_run_grows_the_cluster_from_no_worker_and_leaves_it_empty(tmp_path, dataset, finished):
    options = "--num-cpus=0", f"--autoscaling-config={ROOT / 'cluster' / 'local.yaml'}"
    provider = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with Cluster(*options, **provider) as cluster:
        assert cluster.nodes() == 1
        environment = os.environ | cluster.environment | {"RAY_ADDRESS": cluster.address}
        with (tmp_path / "log").open("w") as log:
            run = subprocess.Popen(command("run", dataset, tmp_path), cwd=ROOT, env=environment, stderr=log)
        wait_until(lambda: cluster.nodes() > 1, run, tmp_path / "log")
        assert run.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
        wait_until(lambda: cluster.nodes() == 1)
    assert ranking(tmp_path / "runs" / "small") == ranking(finished)


@pytest.fixture(scope="module")
def cluster():
    with Cluster("--num-cpus=4", "--port=0") as cluster:
        yield cluster


@pytest.fixture
def submitted(cluster, tmp_path, dataset):
    """Submits the small run from a folder of its own; takes overrides and environment variables."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "small.yaml").write_text((ROOT / "configs" / "quickstart.yaml").read_text())

    def submit(*overrides, **environment):
        words = [sys.executable, "-m", "gradret.cli", "submit", "small.yaml", "--address", cluster.dashboard]
        fixed = [f"dataset.path={dataset}", f"storage_path={tmp_path}", "name=small"]
        return subprocess.run(
            [*words, *SMALL, *fixed, *overrides],
            cwd=here,
            env=os.environ | cluster.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return submit


def test_a_submitted_run_ranks_as_one_without_a_cluster(submitted, tmp_path, finished):
    done = submitted()
    assert done.returncode == 0, done.stdout
    assert f"report: {tmp_path}" in done.stdout
    assert ranking(tmp_path / "runs" / "small") == ranking(finished)


def test_a_job_that_fails_gives_its_message_and_exit_code(submitted, tmp_path):
    done = submitted(f"dataset.path={tmp_path / 'nowhere'}")
    assert done.returncode == 2, done.stdout
    assert "nowhere" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("storage_path=store", "storage_path: must be an absolute path"),
        ("dataset.path=..", ".. is not in"),
    ],
)
def test_what_the_job_would_not_have_is_refused(submitted, override, message):
    done = submitted(override)
    assert (done.returncode, done.stdout.count("\n")) == (2, 1), done.stdout
    assert message in done.stdout


def test_a_wrong_token_is_refused(submitted):
    done = submitted(RAY_AUTH_TOKEN="f" * 64)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1), done.stdout
    assert "no Ray cluster answers" in done.stdout
