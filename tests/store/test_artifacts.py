"""Artifacts: computed once, reused, complete or absent, and errors of the storage."""

import errno
import json
import multiprocessing
import os
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

import gradret
from gradret.config.resources import TrainResources
from gradret.config.run import Index
from gradret.config.train import Train
from gradret.errors import ConfigError, ContractError, DataError, StorageError
from gradret.store import artifacts
from gradret.store.artifacts import Artifact, make, read_shard, shard_metadata, write_shard
from gradret.store.atomic import write_json

SAMPLE = pa.table({"doc_id": ["b", "a"]})


def simple(storage, settings=None, inputs=None, body=None, stage="toy"):
    return make(
        stage, str(storage), module="gradret.text", settings=settings or {}, inputs=inputs or {}, body=body or write
    )


def write(draft):
    draft.write("sample", SAMPLE)
    draft.count(rows_in=2)
    draft.count(rows_in=1, rows_out=3)
    draft.quarantined["odd"] = 1
    draft.notes["dimension"] = 3


def never(draft):
    raise AssertionError("made again")


def test_a_manifest_says_what_was_made(tmp_path):
    source = simple(tmp_path)
    made = simple(tmp_path, {"index": Index()}, {"docs": source}, stage="other")
    assert made.path == tmp_path / "artifacts" / "other" / made.fingerprint
    manifest = json.loads((made.path / "manifest.json").read_text())
    assert manifest == made.manifest
    assert manifest["stage"] == "other"
    assert manifest["inputs"] == {"docs": f"toy/{source.fingerprint}"}
    assert manifest["settings"] == {"index": {"name": "run", "factory": "Flat", "num_shards": 1}}
    assert manifest["shards"] == {"sample": 1}
    assert manifest["notes"] == {"dimension": 3}
    assert manifest["quarantined"] == {"odd": 1}
    assert made.counts == {"rows_in": 3, "rows_out": 3}
    assert manifest["seconds"] >= 0


def test_the_same_settings_find_it_and_others_do_not(tmp_path, capsys, monkeypatch):
    made = simple(tmp_path, {"a": 1})
    monkeypatch.setattr(artifacts, "_known", set())  # as in another process
    for _ in range(2):
        assert simple(tmp_path, {"a": 1}, body=never) == made
    assert capsys.readouterr().err.count("reused") == 1
    assert simple(tmp_path, {"a": 2}).path != made.path
    assert simple(tmp_path, {"a": 1}, {"docs": made}).path != made.path


def test_resources_find_it_too(tmp_path):
    made = simple(tmp_path, {"train": Train()})
    assert simple(tmp_path, {"train": Train(resources=TrainResources(num_workers=4))}, body=never) == made
    assert simple(tmp_path, {"train": Train(epochs=9)}).path != made.path


def test_tables_come_sorted_by_key_whatever_the_shards(tmp_path):
    def _body(draft):
        draft.write("sample", pa.table({"doc_id": ["c", "a"]}), 0)
        draft.write("sample", pa.table({"doc_id": ["b"]}), 1)

    made = simple(tmp_path, body=_body)
    assert made.table("sample").to_pydict() == {"doc_id": ["a", "b", "c"]}
    assert [shard.num_rows for shard in made.batches("sample")] == [2, 1]
    assert made.table("docs").num_rows == 0


def test_some_columns_are_sorted_by_a_key_that_is_not_among_them(tmp_path, artifact):
    rows = [{"doc_id": name, "text": name.upper(), "origin": "corpus"} for name in "cab"]
    assert artifact("ingest", docs=rows).table("docs", ["text"]).to_pydict() == {"text": ["A", "B", "C"]}


def test_a_body_that_fails_leaves_no_artifact(tmp_path):
    def _body(draft):
        draft.write("sample", SAMPLE)
        raise DataError("no")

    with pytest.raises(DataError):
        simple(tmp_path, body=_body)
    assert simple(tmp_path).counts == {"rows_in": 3, "rows_out": 3}


def test_what_breaks_a_contract_is_not_written(tmp_path):
    with pytest.raises(ContractError):
        write_shard(tmp_path / "sample" / "part-00000.parquet", pa.table({"id": ["a"]}), "sample")
    assert not list(tmp_path.rglob("*.parquet"))


# Killed


def _die_between_shards(storage):
    def _body(draft):
        draft.write("sample", SAMPLE, 0)
        os.kill(os.getpid(), 9)

    simple(storage, body=_body)


def _die_within_a_shard(storage):
    import pyarrow.parquet as pq

    def _half(rows, path, **options):
        Path(path).write_bytes(b"PAR1 half of it")
        os.kill(os.getpid(), 9)

    def _body(draft):
        draft.write("sample", SAMPLE, 0)
        pq.write_table = _half
        draft.write("sample", SAMPLE, 1)

    simple(storage, body=_body)


# Not forked: Ray's threads may be alive in this process.
SPAWN = multiprocessing.get_context("spawn")


@pytest.mark.parametrize("die", [_die_between_shards, _die_within_a_shard])
def test_a_kill_leaves_only_whole_shards_and_the_next_run_finishes(tmp_path, die):
    process = SPAWN.Process(target=die, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    (folder,) = [path for path in (tmp_path / "artifacts" / "toy").iterdir() if path.is_dir()]
    assert not (folder / "manifest.json").exists()
    assert [path.name for path in artifacts._shards(folder / "sample")] == ["part-00000.parquet"]
    assert read_shard(folder / "sample" / "part-00000.parquet", "sample").to_pydict() == SAMPLE.to_pydict()
    made = simple(tmp_path)
    assert made.path == folder
    assert sorted(path.name for path in made.path.rglob("*")) == ["manifest.json", "part-00000.parquet", "sample"]


def test_what_only_helped_is_gone_at_the_end(tmp_path):
    def _body(draft):
        (draft.path / "work").mkdir()
        (draft.path / "work" / "part-00000.json").write_text("{}")
        draft.folder("model").joinpath("weights").write_text("x")

    made = simple(tmp_path, body=_body)
    assert sorted(path.name for path in made.path.iterdir()) == ["manifest.json", "model"]


# At once


def _slow(storage, log, arrived):
    def _body(draft):
        with log.open("a") as file:
            file.write("body\n")
        for _ in range(3):
            arrived.acquire()
        write(draft)

    arrived.release()
    made = simple(storage, body=_body)
    with log.open("a") as file:
        file.write(f"{made.path}\n")


def test_two_processes_at_once_make_it_once(tmp_path):
    arrived, log = SPAWN.Semaphore(0), tmp_path / "log"
    processes = [SPAWN.Process(target=_slow, args=(tmp_path, log, arrived)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    lines = log.read_text().splitlines()
    assert lines.count("body") == 1
    assert lines[1:] == [str(simple(tmp_path, body=never).path)] * 3


# Damaged: tests/store/test_checksums.py has what is found by a checksum


def test_a_shard_of_a_draft_that_is_not_parquet(tmp_path):
    path = tmp_path / "draft" / "sample" / "part-00000.parquet"
    write_shard(path, SAMPLE, "sample")
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"not parquet at all"):
        path.write_bytes(data)
        for read in (read_shard, lambda path, table: read_shard(path, table, ["doc_id"]), shard_metadata_of):
            with pytest.raises(StorageError, match=rf"{path} cannot be read .*delete {tmp_path / 'draft'} and run"):
                read(path, "sample")


def shard_metadata_of(path, _table):
    return shard_metadata(path)


def test_artifacts_are_equal_by_what_they_are(tmp_path):
    assert Artifact("a", "f", tmp_path, {}) == Artifact("a", "f", tmp_path, {"seconds": 1})


# Storage that cannot be written


def test_a_storage_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"^storage_path: /.*file/storage cannot be created: Not a directory"):
        simple(tmp_path / "file" / "storage")


def test_a_storage_that_is_a_file(tmp_path):
    (tmp_path / "artifacts").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        simple(tmp_path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_storage_without_the_right_to_write(tmp_path, monkeypatch, number):
    def _refuse(path, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "mkdir", _refuse)
    with pytest.raises(StorageError, match=f"cannot be written: {os.strerror(number)}; set storage_path"):
        simple(tmp_path)


def test_an_error_about_another_file_keeps_its_words(tmp_path):
    def _body(draft):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/corpus.jsonl")

    with pytest.raises(PermissionError, match=r"/elsewhere/corpus\.jsonl"):
        simple(tmp_path, body=_body)


def test_a_full_disk_is_said_and_with_space_it_goes_on(tiny):
    folder, grow = tiny
    noise = [os.urandom(500).hex() for _ in range(400)]
    written = []

    def _body(draft):
        for number in range(2):
            path = draft.path / "sample" / f"part-{number:05d}.parquet"
            if not path.exists():
                draft.write("sample", pa.table({"doc_id": ["small"] if number == 0 else noise}), number)
                written.append(number)

    with pytest.raises(StorageError, match=r"toy: no space left in .*; free some, or set storage_path to another disk"):
        simple(folder, body=_body)
    assert not list(folder.rglob(".*"))
    grow()
    assert simple(folder, body=_body).table("sample").num_rows == 401
    assert written == [0, 1]


@pytest.mark.parametrize("more", [False, True])
def test_a_storage_that_is_deleted_during_a_stage(tmp_path, more):
    def _body(draft):
        write(draft)
        shutil.rmtree(tmp_path / "storage")
        if more:
            draft.write("sample", SAMPLE, 1)

    with pytest.raises(StorageError, match="was deleted during the stage; run the same command again"):
        simple(tmp_path / "storage", body=_body)


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"b": 1, "a": [2]})
    assert json.loads(path.read_text()) == {"b": 1, "a": [2]}

    def _fail(self, *mode, **options):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", _fail)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {})
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]
    assert json.loads(path.read_text())["b"] == 1


def test_no_stage_reads_the_texts_of_a_corpus_whole():
    """``Artifact.table`` holds all rows, and sorts them with 32-bit offsets: 2 GiB of text is too much for it."""
    package = Path(gradret.__file__).parent
    whole = re.compile(r"""\.table\(\s*["']docs["']\s*(,\s*\[(?P<columns>[^]]*)\])?""")
    calls = [match for path in package.rglob("*.py") for match in whole.finditer(path.read_text(encoding="utf-8"))]
    assert {match["columns"] for match in calls} == {'"doc_id"'}
