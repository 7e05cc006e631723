"""Artifacts in an object store: their bytes after failures, one line where it refuses, and what comes to a machine."""

import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from gradret.errors import ConfigError, DamagedError, StorageError
from gradret.store import artifacts, checksums, objects
from gradret.store.artifacts import make, opened, read_shard
from gradret.store.claims import claimed
from gradret.store.guard import lock
from gradret.store.mirror import fetched
from gradret.store.repair import repaired
from gradret.store.run_folder import is_run
from gradret.urls import local_path, location, shown, url_problem

from ..object_store import BUCKET, Fault, object_store

__all__ = ["object_store"]

RUN = pa.table(
    {
        "query_id": ["a", "b"],
        "doc_id": ["x", "y"],
        "score": pa.array([1, 2], pa.float32()),
        "rank": pa.array([1, 1], pa.int32()),
    }
)
WEIGHTS = random.Random(0).randbytes(300_000)


def write(draft):
    for shard in range(3):
        draft.write("run", RUN, shard)
    (draft.folder("model") / "weights").write_bytes(WEIGHTS)
    (draft.path / "work").mkdir()
    (draft.path / "work" / "part-00000.json").write_text("{}")
    draft.count(rows_out=6)


def never(draft):
    raise AssertionError("made again")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that turns this process into one of a new machine."""

    def new(name):
        monkeypatch.setenv("GRADRET_MIRRORS", str(tmp_path / name))
        for module, names in {checksums: ("_checked", "_records"), artifacts: ("_known",)}.items():
            for each in names:
                monkeypatch.setattr(module, each, type(getattr(module, each))())

    new("first")
    return new


@pytest.fixture
def url(object_store, request, monkeypatch, machine):
    monkeypatch.setattr(objects, "_PAUSE", 0.01)
    return object_store.url(request.node.name)


def toy(storage, body=write):
    return make("toy", str(storage), module="gradret.text", settings={}, inputs={}, body=body)


def same_bytes(object_store, url, local):
    """Whether the store has exactly the files of a local artifact; a manifest differs in its time."""
    prefix = location(local_path(url)).key.removeprefix(f"{BUCKET}/")
    here = {path.relative_to(local).as_posix(): path.read_bytes() for path in local.rglob("*") if path.is_file()}
    there = {name: object_store.read(f"{prefix}/{name}") for name in object_store.names(prefix)}
    there = {name.removeprefix(f"artifacts/toy/{local.name}/"): content for name, content in there.items()}
    times = {"seconds", "checksum"}
    manifests = [json.loads(files.pop("manifest.json")) for files in (here, there)]
    one, two = ({key: value for key, value in each.items() if key not in times} for each in manifests)
    assert one == two
    assert here == there


def test_an_artifact_has_the_bytes_of_a_local_one(object_store, url, tmp_path):
    toy(url)
    same_bytes(object_store, url, toy(tmp_path).path)


def test_another_machine_reuses_it_and_copies_only_what_it_reads(object_store, url, machine):
    toy(url)
    machine("second")
    found = toy(url, never)
    assert [path.name for path in found.path.rglob("*") if path.is_file()] == ["manifest.json"]
    assert found.shards("run")[1].name == "part-00001.parquet"
    assert read_shard(found.shards("run")[1], "run").to_pydict() == RUN.to_pydict()
    assert [path.name for path in found.path.rglob("*.parquet")] == ["part-00001.parquet"]
    assert (found.file("model") / "weights").read_bytes() == WEIGHTS
    assert opened(found.path).table("run").num_rows == 6


def test_several_processes_copy_a_file_once(object_store, url, machine):
    path = toy(url).path / "model" / "weights"
    machine("second")
    code = f"""
        import sys, pathlib
        from gradret.store.mirror import fetched
        from gradret.urls import local_path
        print(fetched(local_path({shown(path)!r})).stat().st_size)
    """
    object_store.requests.clear()
    processes = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) for _ in range(4)
    ]
    assert [int(process.communicate()[0]) for process in processes] == [len(WEIGHTS)] * 4
    assert sum(request.startswith("GET") and request.endswith("/weights") for request in object_store.requests) == 1


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("^PUT", 500, times=9, every=2), Fault("^GET", 503, "SlowDown", times=4, every=2)],
        [Fault("^PUT .*parquet"), Fault("^PUT .*weights", times=2), Fault("^PUT .*manifest")],
        [Fault("^HEAD .*parquet", 503, times=3), Fault("^PUT", delay=4.0)],
    ],
    ids=["busy", "cut", "slow"],
)
def test_failures_of_the_store_change_nothing(object_store, url, tmp_path, faults):
    with object_store.failing(*faults):
        toy(url)
    same_bytes(object_store, url, toy(tmp_path).path)


def test_what_no_trial_mends_leaves_no_artifact_and_the_next_run_finishes(object_store, url, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "_TRIES", 2)
    with (
        object_store.failing(Fault("^PUT .*weights", 500, times=99)),
        pytest.raises(StorageError, match=r"weights\?endpoint.*INTERNAL_FAILURE.*run again: finished shards are kept"),
    ):
        toy(url)
    assert not [name for name in object_store.names() if "manifest" in name and "no_trial" in name]
    toy(url)
    same_bytes(object_store, url, toy(tmp_path).path)


def test_a_damaged_object_is_noticed_and_computed_again(object_store, url, machine):
    path = toy(url).path / "run" / "part-00001.parquet"
    key = location(path).key
    content = object_store.read(key.removeprefix(f"{BUCKET}/"))
    with object_store.files.open_output_stream(key) as stream:
        stream.write(content[:-9] + bytes(9))
    machine("second")
    with pytest.raises(DamagedError, match=r"^s3://bucket/.*part-00001.parquet\?.* is damaged"):
        toy(url).table("run")
    assert repaired(lambda: toy(url).table("run").num_rows) == 6
    assert object_store.read(key.removeprefix(f"{BUCKET}/")) == content


def test_a_deleted_object_is_noticed_before_it_is_read(object_store, url, capsys):
    path = toy(url).path / "model" / "weights"
    object_store.files.delete_file(location(path).key)
    toy(url)
    assert "weights" in capsys.readouterr().err
    assert object_store.read(location(path).key.removeprefix(f"{BUCKET}/")) == WEIGHTS


def test_a_deleted_storage_is_computed_again_in_spite_of_its_copies(object_store, url):
    toy(url)
    object_store.files.delete_dir(location(local_path(url)).key)
    assert toy(url).counts == {"rows_out": 6}
    assert [name for name in object_store.names() if "in_spite" in name]


# One line where the store refuses


def test_a_missing_bucket(object_store, machine):
    with pytest.raises(StorageError, match=r"^s3://nowhere/x\?.*: there is no bucket nowhere; create it, or correct"):
        toy(object_store.url("x", "nowhere"))


def test_no_server(machine, monkeypatch):
    monkeypatch.setattr(objects, "_TRIES", 1)
    with pytest.raises(
        StorageError, match=r"^s3://bucket/x.*NETWORK_CONNECTION.*; check the network, AWS_ENDPOINT_URL"
    ):
        toy("s3://bucket/x?endpoint_override=http://127.0.0.1:9")


@pytest.mark.parametrize("request_line", ["^HEAD /bucket$", "^PUT"], ids=["wrong credentials", "read-only"])
def test_credentials_that_may_not(object_store, url, request_line):
    with (
        object_store.failing(Fault(request_line, 403, "AccessDenied", times=99)),
        pytest.raises(
            StorageError, match=r"^s3://bucket/.*ACCESS_DENIED.*; give this node credentials that may read and"
        ),
    ):
        toy(url.replace("?", "/deeper?"))


def test_a_folder_for_copies_that_cannot_be_written(object_store, url, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADRET_MIRRORS", str(tmp_path / "file"))
    with pytest.raises((StorageError, ConfigError), match=r"GRADRET_MIRRORS|cannot be created"):
        toy(url)


# Claims


PACE = {"beat": 0.05, "expiry": 0.6, "poll": 0.02}


@pytest.fixture(params=["objects", "shared folder"])
def claims(request, tmp_path, object_store, machine):
    name = "".join(letter for letter in request.node.name if letter.isalpha())
    return local_path(object_store.url(name)) if request.param == "objects" else tmp_path / name


def test_only_one_has_the_turn(claims):
    inside, most, total = [], [], []

    def work():
        for _ in range(3):
            with claimed(claims, lambda: None, **PACE | {"expiry": 60}):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.02)
                inside.pop()
                total.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(total)) == (1, 12)


def dead_claim(claims, **changes):
    """The claim of a process that ended without a word."""
    with claimed(claims, lambda: None, **PACE):
        from gradret.store import claims as module

        place = location(claims)
        holder = module._Objects(place) if place else module._Files(claims)
        (name,) = holder.names()
        content = json.loads(holder.read(name)) | changes
        holder.write("dead.json", json.dumps(content).encode())
    return holder


def test_a_claim_of_another_machine_expires_when_it_no_longer_changes(claims):
    holder = dead_claim(claims, machine="another")
    waited, started = [], time.monotonic()
    with claimed(claims, lambda: waited.append(1), **PACE):
        assert "dead.json" not in holder.names()
    assert waited == [1]
    assert time.monotonic() - started >= PACE["expiry"]


def test_a_claim_of_a_process_that_is_gone_from_this_machine_is_void_at_once(claims):
    process = subprocess.Popen(["true"])
    process.wait()
    dead_claim(claims, pid=process.pid)
    waited = []
    with claimed(claims, lambda: waited.append(1), **PACE | {"expiry": 1e9}):
        assert not waited


def test_an_owner_learns_that_its_turn_was_taken(claims):
    with claimed(claims, lambda: None, **PACE) as turn:
        turn.require()
        place = location(claims)
        if place:
            objects.delete(place)
        else:
            shutil.rmtree(claims)
        assert turn.lost.wait(30)
        with pytest.raises(StorageError, match="another run has taken over"):
            turn.require()


def test_two_drivers_at_once_compute_an_artifact_once(object_store, url, tmp_path):
    code = f"""
        import sys, time
        from tests.store.test_object_storage import toy, write
        def body(draft):
            print("computed", flush=True)
            time.sleep(1)
            write(draft)
        print(toy({url!r}, body).fingerprint)
    """
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"GRADRET_MIRRORS": str(tmp_path / f"machine{number}")},
        )
        for number in range(2)
    ]
    said = "".join(driver.communicate()[0] for driver in drivers)
    assert [driver.returncode for driver in drivers] == [0, 0]
    assert said.count("computed") == 1
    same_bytes(object_store, url, toy(tmp_path / "local").path)


def test_a_network_file_system_takes_turns_by_claims(tmp_path, monkeypatch):
    import psutil

    part = SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [part])
    artifact = tmp_path / "artifacts" / "toy" / "f"
    artifact.mkdir(parents=True)
    with lock(artifact):
        assert len(list((artifact.parent / "f.claims").glob("*.json"))) == 1
    assert not list((artifact.parent / "f.claims").glob("*.json"))


# URLs


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("s3://bucket/a/b", "bucket/a/b"),
        ("s3://bucket", "bucket"),
        ("s3://bucket/a/?endpoint_override=http://h:9000/&region=x", "bucket/a"),
        ("gs://bucket/a", "bucket/a"),
    ],
)
def test_a_path_names_its_object_on_every_machine(url, key, monkeypatch, machine):
    path = local_path(url)
    monkeypatch.setenv("GRADRET_MIRRORS", "/elsewhere")
    assert location(path).key == key
    assert location(path / "x").key == f"{key}/x"
    assert local_path(shown(path)) == Path("/elsewhere", *path.parts[path.parts.index("gradret-mirror") :])


def test_the_variable_for_the_endpoint_travels_in_the_path(monkeypatch, machine):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://h:9000")
    path = local_path("s3://bucket/x")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert dict(location(path).options) == {"endpoint_override": "http://h:9000"}


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://bucket/x", "must be a folder, s3://BUCKET/PREFIX or gs"),
        ("s3:///x", "must be a folder"),
        ("s3://key:secret@bucket/x", "must not contain credentials; set AWS_ACCESS_KEY_ID"),
        ("s3://bucket/a//b", "without spaces and empty parts"),
        ("s3://bucket/../x", "must not contain . or .."),
        ("s3://bucket/x?access_key=a", "unknown option 'access_key'; the options are endpoint_override, region"),
    ],
)
def test_urls_that_are_refused(url, problem):
    assert problem in url_problem(url)
    assert "secret" not in url_problem(url)


def test_any_other_path_stays_as_it_is(tmp_path):
    assert local_path(str(tmp_path)) == tmp_path
    assert location(tmp_path) is None
    assert fetched(tmp_path) == tmp_path
    assert not is_run(str(tmp_path))
