"""One small collection and one finished run of it, shared by all tests of whole runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from gradret.datasets._stdlib import documents
from gradret.datasets.pydocs import Pydocs

ROOT = Path(__file__).parents[1]
MODULES = ("subprocess", "json", "pathlib", "csv", "tempfile", "argparse", "zipfile", "threading", "shutil", "random")
SMALL = [
    "dataset.name=beir",
    "generate.generator.queries=300",
    "train.epochs=2",
    "train.batch_size=32",
    "search.k=100",
]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset"))


def write_dataset(folder):
    """A BEIR folder with a few hundred documents of the embedded collection and the queries they answer."""
    docs = [doc for doc in documents() if doc["doc_id"].split(".")[0].split("#")[0] in MODULES]
    ids = {doc["doc_id"] for doc in docs}
    part = Pydocs().parts("qrels")[0]
    judged = [row for _, row in Pydocs().read("qrels", part) if row["doc_id"] in ids and row["relevance"] > 0]
    wanted = {row["query_id"] for row in judged}
    queries = [row for _, row in Pydocs().read("queries", part) if row["query_id"] in wanted]
    write_lines(folder / "corpus.jsonl", [{"_id": d["doc_id"], "title": d["title"], "text": d["text"]} for d in docs])
    write_lines(folder / "queries.jsonl", [{"_id": q["query_id"], "text": q["text"]} for q in queries])
    (folder / "qrels").mkdir()
    lines = [f"{row['query_id']}\t{row['doc_id']}\t{row['relevance']}" for row in judged]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="session")
def finished(dataset, storage):
    """The folder of a finished run."""
    done = gradret("run", dataset, storage)
    assert done.returncode == 0, done.stderr
    return storage / "runs" / "small"


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def command(name, dataset, storage, *overrides):
    config = str(ROOT / "configs" / "quickstart.yaml")
    fixed = [f"dataset.path={dataset}", f"storage_path={storage}", "name=small"]
    return [sys.executable, "-m", "gradret.cli", name, config, *SMALL, *fixed, *overrides, "--verbose"]


def gradret(name, dataset, storage, *overrides, **environment):
    """Run a command to its end in a process of its own."""
    return subprocess.run(
        command(name, dataset, storage, *overrides),
        capture_output=True,
        text=True,
        check=False,
        cwd=environment.pop("cwd", ROOT),
        env=os.environ | environment,
    )


def made(done):
    """Names of the artifacts that a command computed, in order, from its details."""
    stages = [line.split() for line in done.stderr.splitlines()]
    return [words[0] for words in stages if len(words) > 2 and words[2] == "s"]


def model_bytes(run):
    (weights,) = (run / "model").rglob("*.safetensors")
    return weights.read_bytes()


def shard_ids(shards):
    """The doc_ids of an index's first shard."""
    return pa.ipc.open_file(str(shards / "00000.ids.arrow")).read_all()["doc_id"].to_pylist()
