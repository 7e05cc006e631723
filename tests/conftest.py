"""Fixtures shared by many tests: one Ray instance per session, a small BEIR folder, configs and artifacts."""

import json
import os
import subprocess

import pytest

pytest_plugins = ["tests.small_run"]

DOCS = [
    {"_id": "d1", "title": "Wings", "text": "A wing in a slipstream gains lift."},
    {"_id": "d2", "title": "", "text": "Boundary layers separate from a blunt body."},
    {"_id": "d3", "title": "Shells", "text": "A thin shell buckles under axial load."},
]
QUERIES = [{"_id": "q1", "text": "lift of a wing"}, {"_id": "q2", "text": "when does a shell buckle"}]
QRELS = {"test": [("q1", "d1", 2), ("q2", "d3", 1)]}

# Folders whose tests start runs, clusters or engines in processes of their own.
SLOW = {"cluster", "commands", "engines", "flow", "serving"}


def pytest_collection_modifyitems(items):
    """Run the fast files first: those without Ray, then those that share a session, then those that start their own."""
    with_ray = {item.path for item in items if "ray_session" in item.fixturenames}
    items.sort(key=lambda item: 2 if item.path.parent.name in SLOW else int(item.path in with_ray))


@pytest.fixture(scope="session")
def ray_session():
    """Start Ray once per session, for tests that run a stage on it."""
    import ray

    from gradret.work.session import connect

    connect()
    yield
    ray.shutdown()


@pytest.fixture
def beir(tmp_path):
    """Return a function that writes a BEIR folder from ``docs``, ``queries`` and ``qrels``: records, or bytes."""

    def write(docs=DOCS, queries=QUERIES, qrels=QRELS, name="data"):
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        for file, rows in {"corpus.jsonl": docs, "queries.jsonl": queries}.items():
            if rows is not None:
                (folder / file).write_bytes(rows if isinstance(rows, bytes) else json_lines(rows))
        for split, rows in qrels.items():
            (folder / "qrels" / f"{split}.tsv").write_bytes(rows if isinstance(rows, bytes) else judgments(rows))
        return folder

    return write


@pytest.fixture
def config(tmp_path):
    """Return a function that builds the config of a BEIR folder, with storage in the test's temporary folder."""
    import gradret.config.loading

    def make(folder, storage=None, **blocks):
        dataset = {"name": "beir", "path": str(folder)} | blocks.pop("dataset", {})
        storage_path = str(storage or tmp_path / "storage")
        return gradret.config.loading.parse({"name": "toy", "storage_path": storage_path, "dataset": dataset, **blocks})

    return make


def json_lines(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def judgments(rows):
    return "".join("\t".join(map(str, row)) + "\n" for row in [("query-id", "corpus-id", "score"), *rows]).encode()


@pytest.fixture
def artifact(tmp_path):
    """Return a function that writes a stage's artifact from the rows of each table."""
    import pyarrow as pa

    from gradret.store import artifacts, contracts

    def write(stage, storage=None, **tables):
        def _body(draft):
            for name, rows in tables.items():
                draft.write(name, pa.Table.from_pylist(rows, contracts.schema(name)))

        where = str(storage or tmp_path / "storage")
        return artifacts.make(stage, where, module="gradret.text", settings=tables, inputs={}, body=_body)

    return write


@pytest.fixture
def tiny(tmp_path):
    """Mount a file system of 64 KiB; return it and a function that enlarges it."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no permission to mount a tmpfs")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
    subprocess.run(["umount", folder], check=True)
