"""The storage check on a real S3 server: a bucket that every machine sees, another one, and one that does not exist."""

from pathlib import Path

from gradret.doctor.facts import facts
from gradret.doctor.nodes import Machine
from gradret.doctor.storage import marked, storage
from gradret.urls import location

from ..object_store import object_store

__all__ = ["object_store"]


def asked(url, token):
    return facts({"modules": [], "storage": url, "token": token, "hub": []})["storage"]


def test_a_bucket(object_store, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADRET_MIRRORS", str(tmp_path))
    with marked(object_store.url("doctor")) as (folder, token):
        url = location(folder).url
        monkeypatch.setenv("GRADRET_MIRRORS", str(tmp_path / "another machine"))
        seen, missing = asked(url, token), asked(object_store.url("other"), token)
    assert seen == {"exists": True, "seen": True, "problem": "", "free": 0}
    assert (missing["seen"], missing["problem"]) == (False, "")
    told = {"versions": {}, "storage": missing}
    (finding,) = storage(Path(folder), token, [Machine("node a", told, {})])
    assert finding.text.startswith("on node a, ")
    (fine,) = storage(Path(folder), token, [Machine("node a", told | {"storage": seen}, {})])
    assert fine.level == "ok"
    assert fine.text.endswith(" is writable on every machine")
    assert object_store.names("doctor") == []


def test_a_bucket_that_does_not_exist(object_store):
    absent = asked(object_store.url("doctor").replace("s3://", "s3://no-"), "token")
    assert "create the bucket, or correct its name" in absent["problem"]
