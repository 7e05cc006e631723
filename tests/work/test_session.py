"""The local Ray session."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray

from ..processes import PATIENCE, wait_until

# A worker that starts a process of its own, as vLLM's engine does, and waits.
DRIVER = """
import subprocess, sys, time
import ray
from gradret.work.session import connect

@ray.remote
class Worker:
    def start(self, path):
        child = subprocess.Popen(["sleep", "3600"], start_new_session=sys.argv[2] == "driver")
        with open(path + ".part", "w") as file:
            file.write(f"{__import__('os').getpid()} {child.pid}")
        __import__("os").rename(path + ".part", path)
        time.sleep(3600)

connect()
worker = Worker.remote()
ray.get(worker.start.remote(sys.argv[1]))
"""

# Ends as the command line does.
WAITING = """
import sys, time
import ray
from gradret.work.session import connect
from gradret.work.signals import Terminated, raised_signals

@ray.remote
def wait():
    time.sleep(3600)

try:
    with raised_signals():
        connect()
        ray.get(wait.remote())
except Terminated:
    sys.exit(143)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("killed", ["driver", "worker"])
def test_nothing_outlives_a_killed(killed, tmp_path):
    path = tmp_path / "pids"
    command = [sys.executable, "-c", DRIVER, str(path), killed]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as driver:
        wait_until(path.exists, driver)
        worker, child = (psutil.Process(int(pid)) for pid in path.read_text().split())
        started = [worker, child, *psutil.Process(driver.pid).children(recursive=True)]
        (worker if killed == "worker" else driver).kill()
        wait_until(lambda: not child.is_running())
        driver.kill()
    wait_until(lambda: not any(process.is_running() for process in started))


@pytest.mark.parametrize("seen", ["raylet", "ray::wait"])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_driver_that_ends_while_ray_starts_or_works_leaves_nothing(number, status, seen, tmp_path):
    # SPT_NOENV: Ray's titles of processes would overwrite their environment, by which they are found.
    environment = os.environ | {"GRADRET_TEST": str(tmp_path), "SPT_NOENV": "1"}
    with subprocess.Popen([sys.executable, "-c", WAITING], env=environment, cwd=Path(__file__).parents[2]) as driver:
        wait_until(lambda: seen in [Path(line[0]).name for line in lines_with(str(tmp_path)) if line], driver)
        driver.send_signal(number)
        assert driver.wait(PATIENCE) == status
    wait_until(lambda: not lines_with(str(tmp_path)))


def test_a_killed_raylet_is_said_in_a_line(tmp_path):
    environment = os.environ | {"GRADRET_TEST": str(tmp_path), "SPT_NOENV": "1"}
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(
        command, env=environment, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True
    ) as driver:
        wait_until(lambda: "ray::wait" in [line[0] for line in lines_with(str(tmp_path)) if line], driver)
        (raylet,) = [one for one in psutil.Process(driver.pid).children() if one.name() == "raylet"]
        raylet.kill()
        said = driver.communicate(timeout=PATIENCE)[1]
    assert driver.returncode == 1
    assert said.splitlines() == [
        "gradret: Ray's raylet was killed, perhaps for lack of memory; run the same command again to resume"
    ]
    wait_until(lambda: not lines_with(str(tmp_path)))


def lines_with(mark):
    """Command lines of the living processes that a test started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("GRADRET_TEST") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
    return found


def test_workers_of_a_local_session_are_as_nice_as_the_driver(ray_session):
    assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)


def test_a_ray_that_does_not_start_is_said_in_a_line(tmp_path):
    (tmp_path / "file").touch()
    code = "from gradret.work.session import connect; connect()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"RAY_TMPDIR": str(tmp_path / "file")},
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1].startswith("gradret.errors.StageError: cannot start Ray on this machine: ")


def nothing_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("address", ["{}", "ray://{}", "no-such-host.invalid:6379", "junk"])
def test_an_address_without_a_cluster_is_said_in_a_line(address):
    """Ray itself waits for minutes; the time limit is a guard against that, no measure of speed."""
    address = address.format(nothing_listens())
    code = "from gradret.work.session import connect; connect()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"RAY_ADDRESS": address},
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"gradret.errors.StageError: cannot connect to a Ray cluster at RAY_ADDRESS={address}: ")
    assert said.endswith("start the cluster, correct RAY_ADDRESS, or unset it to use this machine alone")
