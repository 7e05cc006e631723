"""Signals in the middle of a run, two runs at once, a job on a cluster with token authentication."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from ..processes import PATIENCE, kill_tree, wait_until
from ..small_run import ROOT, SMALL, command, model_bytes

DEATHS = [
    ("encode", signal.SIGTERM),
    ("train", signal.SIGINT),  # while Ray Train starts
    ("train", signal.SIGKILL),
    ("search", signal.SIGINT),  # Ray Train's handler would still be there
]
"""Of each kind one; benchmarks/kill_sweep.py has all stages."""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_result(finished, dataset, tmp_path):
    for stage, how in DEATHS:
        end_in(stage, how, dataset, tmp_path)
    done = subprocess.run(command("run", dataset, tmp_path), capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    same_result(tmp_path / "runs" / "small", finished)


def test_two_runs_at_once_do_not_harm_each_other(finished, dataset, tmp_path):
    both = [
        subprocess.Popen(
            command("run", dataset, tmp_path, f"name={name}"),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for name in ("small", "other")
    ]
    for run in both:
        _, said = run.communicate()
        assert run.returncode == 0, said
    for name in ("small", "other"):
        same_result(tmp_path / "runs" / name, finished)


def test_a_job_on_a_cluster_with_token_authentication(finished, dataset, tmp_path):
    # Beside another test, workers at Ray's niceness of 15 hardly run.
    environment = os.environ | {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token", "RAY_worker_niceness": "0"}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ports = [free_port() for _ in range(3)]
    address = f"http://127.0.0.1:{ports[1]}"
    ray("get-auth-token", "--generate", env=environment)
    try:
        ray(
            "start", "--head", f"--port={ports[0]}", "--dashboard-host=127.0.0.1", f"--dashboard-port={ports[1]}",
            f"--dashboard-agent-listen-port={ports[2]}",  # its default is that of the Ray that other tests use
            "--num-cpus=4", f"--temp-dir={short_folder(tmp_path)}", "--disable-usage-stats", env=environment,
        )  # fmt: skip
        entry = ["python", "pipelines/quickstart.py", "configs/quickstart.yaml", *SMALL]
        entry += [f"dataset.path={dataset}", f"storage_path={tmp_path / 'storage'}", "name=small"]
        refused = subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", "job", "list", "--address", address],
            env=environment | {"HOME": str(tmp_path / "nobody"), "RAY_AUTH_MODE": "disabled"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert refused.returncode != 0
        done = ray("job", "submit", "--address", address, "--working-dir", str(ROOT), "--", *entry, env=environment)
        assert "succeeded" in done
    finally:
        ray_pids = pids_with(short_folder(tmp_path))
        for pid in ray_pids:
            os.kill(pid, signal.SIGKILL)
    same_result(tmp_path / "storage" / "runs" / "small", finished)


def end_in(stage, how, dataset, storage):
    """Start a run and send it a signal as soon as ``stage`` is at work; nothing that it started stays."""
    before = set((storage / "artifacts" / stage).glob("*/manifest.json"))
    said = storage / "said.txt"
    with said.open("w") as file:
        run = subprocess.Popen(command("run", dataset, storage), stderr=file, stdout=file, cwd=ROOT)
    try:
        wait_until(lambda: at_work(storage / "artifacts" / stage, how, before), run, said)
        started = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(how)
        status = run.wait(PATIENCE)
    finally:
        kill_tree(run)
    wait_until(lambda: not any(process.is_running() for process in started))
    if how == signal.SIGKILL:
        return
    assert status == 128 + how, said.read_text()
    assert said.read_text().splitlines()[-1] == "gradret: interrupted; run the same command again to resume"
    assert "Traceback" not in said.read_text()


def at_work(folder, how, before):
    """Whether a stage has begun to write what is not in ``before``."""
    if folder.name == "train" and how == signal.SIGINT:
        return any(folder.glob("*/work/prepared.json"))
    if folder.name == "train":
        return any('"epoch": 0, "step": 3' in path.read_text() for path in folder.glob("*/metrics.jsonl"))
    return bool({path.parent for path in folder.glob("*/*") if path.is_dir()} - {path.parent for path in before})


def same_result(run, expected):
    assert model_bytes(run) == model_bytes(expected)
    for path in sorted((expected / "runs").glob("*.trec")):
        assert (run / "runs" / path.name).read_bytes() == path.read_bytes()
    mine, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (run, expected))
    assert mine["systems"] == theirs["systems"]
    mine, theirs = (json.loads((folder / "lineage.json").read_text()) for folder in (run, expected))
    for name, entry in theirs.items():
        assert mine[name]["artifact"] == entry["artifact"]
        assert mine[name]["counts"] == entry["counts"], name


def ray(*arguments, env):
    for _ in range(30):
        done = subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", *arguments],
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "No available agent" not in done.stdout + done.stderr:
            break
        time.sleep(2)  # the cluster has only just been started
    assert done.returncode == 0, f"ray {arguments[0]}: {done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def short_folder(tmp_path):
    """Unix sockets have short names, so Ray's folder must have one too."""
    return f"/tmp/gradret-{os.getpid()}"


def pids_with(text):
    """Processes whose command line holds ``text``: the cluster that this test started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in line and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found
