"""A run in an object store: killed on one machine, finished on another by a store that often fails, read on a third."""

import json
import os
import subprocess

import pytest

from gradret.commands.export import export
from gradret.commands.lookup import Lookup
from gradret.commands.status import status
from gradret.store.mirror import fetch_below
from gradret.store.run_folder import run_folder
from gradret.urls import local_path

from ..object_store import KEYS, Fault, object_store
from ..processes import kill_tree, wait_until
from ..small_run import ROOT, command, made
from .test_faults import at_work, same_result

__all__ = ["object_store"]

pytestmark = pytest.mark.usefixtures("finished")


@pytest.fixture(scope="module")
def machine(object_store, tmp_path_factory):
    """Return a function that gives the environment of a new machine, which has copied nothing yet."""
    return lambda: os.environ | {"GRADRET_MIRRORS": str(tmp_path_factory.mktemp("mirrors"))}


@pytest.fixture(scope="module")
def resumed(object_store, machine, dataset, tmp_path_factory):
    """The URL of a run that was killed in training and finished on another machine."""
    url, first, said = object_store.url("deep/storage"), machine(), tmp_path_factory.mktemp("said") / "said.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADRET_MIRRORS", first["GRADRET_MIRRORS"])
        training = local_path(url) / "artifacts" / "train"
    with said.open("w") as file:
        run = subprocess.Popen(command("run", dataset, url), stderr=file, stdout=file, cwd=ROOT, env=first)
    try:
        wait_until(lambda: at_work(training, 9, ()), run, said)
    finally:
        kill_tree(run)
    faults = [
        Fault("^(PUT|GET)", 503, "SlowDown", times=40, every=25),
        Fault("^PUT", 500, times=10, every=40),
        Fault(r"^PUT .*safetensors", times=2),
        Fault("^GET", delay=2.0, times=1),
    ]
    with object_store.failing(*faults):
        done = subprocess.run(
            command("run", dataset, url), capture_output=True, text=True, check=False, cwd=ROOT, env=machine()
        )
    assert done.returncode == 0, done.stderr
    assert "report: s3://bucket/deep/storage/runs/small/report.html?" in done.stdout
    assert "train" in made(done)
    assert "label" not in made(done)
    return object_store.url("deep/storage/runs/small")


@pytest.fixture(scope="module")
def elsewhere(machine):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADRET_MIRRORS", machine()["GRADRET_MIRRORS"])
        yield


def test_the_run_is_that_of_a_local_storage(resumed, finished, elsewhere):
    folder = run_folder(resumed)
    fetch_below(folder / "runs")
    same_result(folder, finished)
    assert (folder / "report.html").stat().st_size > 10_000
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in "".join(path.read_text() for path in folder.glob("*.*"))


def test_every_artifact_has_the_bytes_of_a_local_one(resumed, storage, object_store):
    compared = 0
    for name in object_store.names("deep/storage/artifacts"):
        stage, fingerprint, file = name.split("/", 2)
        local = storage / "artifacts" / stage / fingerprint / file
        assert "work" not in file.split("/")
        if not file.startswith("tensorboard/") and file != "manifest.json":
            assert object_store.read(f"deep/storage/artifacts/{name}") == local.read_bytes(), name
            compared += 1
    files_of = [json.loads(path.read_text())["files"] for path in storage.glob("artifacts/*/*/manifest.json")]
    assert compared == sum(not name.startswith("tensorboard/") for files in files_of for name in files)


def test_its_log_tells_of_both_starts(resumed, elsewhere):
    found = status(resumed)
    assert (found.name, found.state) == ("small", "finished")
    text = (run_folder(resumed) / "log.txt").read_text()
    assert text.count("\tstarted\n") == 2
    assert [line for line in text.splitlines() if "] ingest" in line and " s  " in line]


def test_it_can_be_searched_and_exported_by_its_url(resumed, finished, elsewhere, tmp_path):
    query = "parse command line arguments"
    assert Lookup(resumed).search(query) == Lookup(finished).search(query)
    here, there = export(resumed, tmp_path / "here"), export(finished, tmp_path / "there")
    names = sorted(path.relative_to(there) for path in there.rglob("*.safetensors"))
    assert names
    assert all((here / name).read_bytes() == (there / name).read_bytes() for name in names)
