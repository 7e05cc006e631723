"""Real clusters on this machine: Ray's autoscaler with cluster/local.yaml, and the jobs of ``gradret submit``."""

import contextlib
import json
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

from ..processes import PATIENCE, kill_tree, wait_until
from ..small_run import SMALL, command

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef" * 4
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
PATHS = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Cluster:
    """A head with token authentication and a dashboard.

    Args:
        options: of ``ray start``.
        provider: environment variables of the autoscaler's provider of nodes.
    """

    def __init__(self, *options, **provider):
        port, metrics = free_port(), free_port()
        # Short: the path of a Unix socket has at most 107 bytes.
        self.folder = tempfile.mkdtemp(prefix="ray-")
        self.provider, self.dashboard = provider, f"http://127.0.0.1:{port}"
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        # Of two Rays on one machine, the agent of the second cannot have the usual port.
        ports = [f"--dashboard-port={port}", "--dashboard-agent-listen-port=0", f"--metrics-export-port={metrics}"]
        self.options = [f"--temp-dir={self.folder}", *ports, *options]
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": PATHS,
            "RAY_worker_niceness": "0",  # beside another test, workers at Ray's 15 hardly run
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

    @contextlib.contextmanager
    def joined(self, *wrap, **environment):
        """Another node, without CPUs, whose processes start inside the command ``wrap``; leaves at the end."""
        before = self.nodes()
        start = [*wrap, *RAY, "start", f"--address={self.address}", "--num-cpus=0", "--block"]
        with subprocess.Popen(
            [*start, "--dashboard-agent-listen-port=0"],
            env=os.environ | self.environment | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as node:
            try:
                wait_until(lambda: self.nodes() > before, node)
                yield
            finally:
                kill_tree(node)

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


LATE = """
from gradret.work.nodes import require_nodes
require_nodes("index", {"GPU": 8}, 1, 0.02)
"""


def ranking(run):
    return (run / "runs" / "tuned.trec").read_bytes()


def test_a_run_grows_the_cluster_from_no_worker_and_leaves_it_empty(tmp_path, dataset, finished):
    options = "--num-cpus=0", f"--autoscaling-config={ROOT / 'cluster' / 'local.yaml'}"
    provider = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with Cluster(*options, **provider) as cluster:
        assert cluster.nodes() == 1
        environment = os.environ | cluster.environment | {"RAY_ADDRESS": cluster.address}
        with (tmp_path / "log").open("w") as log:
            # The fake GPU is none for torch, so the model runs on the node's CPUs.
            words = command("run", dataset, tmp_path, "encode.resources.gpus=1", "encode.compute=float32")
            run = subprocess.Popen(words, cwd=ROOT, env=environment, stderr=log)
        wait_until(lambda: cluster.nodes() > 1, run, tmp_path / "log")
        said = (tmp_path / "log").read_text
        assert run.wait(PATIENCE) == 0, said()
        assert "  ingest: waits for a node with 1 CPU (0 of 1); the cluster has " in said()
        assert "  encode: waits for a node with 1 CPU, 1 GPU (0 of 1); the cluster has 4 CPU, " in said()
        late = subprocess.run(
            [sys.executable, "-c", LATE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert "index: no node came in 0.02 min (wait_minutes of its resources): a node with 8 GPU" in late.stderr
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
        ("storage_path=store", "storage_path: must be a URL, or an absolute path"),
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a node file systems of its own")
def test_the_doctor_finds_what_differs_on_a_node(cluster, tmp_path, dataset):
    """A node with another version of a package, and another folder in place of the storage."""
    other = tmp_path / "packages" / "transformers-4.0.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.0.0\n")
    (tmp_path / "storage").mkdir()
    mounts = f"mount -t tmpfs none {tmp_path / 'storage'} && exec "
    wrap = ["unshare", "--mount", "sh", "-c", mounts + '"$@"', "sh"]
    words = [sys.executable, "-m", "gradret.cli", "doctor", str(ROOT / "configs" / "quickstart.yaml"), "--json"]
    overrides = ["dataset.name=beir", f"dataset.path={dataset}", f"storage_path={tmp_path / 'storage'}"]
    environment = os.environ | cluster.environment | {"RAY_ADDRESS": cluster.address}
    packages = os.pathsep.join([str(other.parent), cluster.environment["PYTHONPATH"]])
    with cluster.joined(*wrap, PYTHONPATH=packages):
        done = subprocess.run(
            [*words, *overrides], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode == 1, done.stderr
    found = [(each["level"], each["check"], each["text"]) for each in json.loads(done.stdout) if each["level"] != "ok"]
    assert len(found) == 2, found
    version, storage = found
    assert version[:2] == ("warning", "versions")
    assert re.fullmatch(r"transformers is .* on the driver and 4\.0\.0 on node .* \(\w{8}\)", version[2])
    assert storage[:2] == ("fault", "storage")
    assert storage[2].endswith(f"{tmp_path / 'storage'} is another folder than the driver's")


MEASURED = """
import sys
from gradret.config.loading import load
from gradret.flow import Flow
from gradret.work.metrics import named

with named("the run"):
    for words in ({whole}, {trained}):
        flow = Flow(load("configs/quickstart.yaml", words))
        flow.train if words == {trained} else flow.ingest
print("recorded", flush=True)
sys.stdin.read()
"""


def test_prometheus_can_scrape_what_a_run_did(cluster, tmp_path, dataset, storage, finished):
    """Rows, quarantined rows and the loss: of a new ``ingest`` with a bad row, and of a training of one epoch."""
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    lines = (folder / "corpus.jsonl").read_text().splitlines()
    (folder / "corpus.jsonl").write_text("\n".join([*lines, "no JSON"]) + "\n")
    whole = ["dataset.name=beir", f"dataset.path={folder}", f"storage_path={tmp_path / 'new'}"]
    trained = [*SMALL, f"dataset.path={dataset}", f"storage_path={storage}", "train.epochs=1"]
    environment = os.environ | cluster.environment | {"RAY_ADDRESS": cluster.address}
    with subprocess.Popen(
        [sys.executable, "-c", MEASURED.format(whole=whole, trained=trained)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        assert b"recorded\n" in iter(run.stdout.readline, b"")  # after what Ray may say
        expected = {("rows", "ingest"): len(lines) + 1, ("quarantined", "ingest"): 1}
        wait_until(lambda: expected.items() <= scraped(cluster).items() and ("loss", "train") in scraped(cluster), run)
        run.stdin.close()


def scraped(cluster):
    """Values by name and stage of the metrics of the run of this test; the cluster tells those of earlier ones too."""
    text = requests.get(cluster.metrics, timeout=60).text
    found = re.findall(r"^ray_gradret_(\w+?)(?:_total)?\{(.*)\} (\S+)$", text, re.MULTILINE)
    tags = [(name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for name, labels, value in found]
    return {(name, labels["stage"]): value for name, labels, value in tags if labels["run"] == "the run"}
