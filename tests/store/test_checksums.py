"""Checksums of an artifact's files: what a reader refuses, what ``make`` repairs."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file

from gradret.errors import DamagedError, StorageError
from gradret.store import artifacts, checksums
from gradret.store.artifacts import make, opened, read_shard, shard_metadata
from gradret.store.checksums import check, check_copy
from gradret.store.repair import repaired

FLIPS = 400
RUN = pa.table(
    {
        "query_id": [f"q{number // 10:03d}" for number in range(500)],
        "doc_id": [f"document number {number * 7919 % 500}" for number in range(500)],
        "score": pa.array([1 / (1 + number) for number in range(500)], pa.float32()),
        "rank": pa.array([number % 10 + 1 for number in range(500)], pa.int32()),
    }
)
WEIGHTS = {"embedding": np.random.default_rng(1).normal(size=(64, 16)).astype(np.float32)}


def write(draft):
    for shard in range(3):
        draft.write("run", RUN.slice(shard * 170, 170), shard)
    save_file(WEIGHTS, draft.folder("model") / "model.safetensors")
    (draft.path / "model" / "modules.json").write_text("[]")
    draft.count(rows_out=RUN.num_rows)


def made(storage, body=write):
    return make("toy", str(storage), module="gradret.text", settings={}, inputs={}, body=body)


def never(draft):
    raise AssertionError("made again")


@pytest.fixture
def fresh(monkeypatch):
    """As another process, which has checked and opened nothing."""

    def forget():
        monkeypatch.setattr(checksums, "_checked", set())
        monkeypatch.setattr(checksums, "_records", {})
        monkeypatch.setattr(artifacts, "_known", set())

    return forget


def flip(path, draw):
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    bit = draw.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def read(artifact):
    weights = load_file(artifact.file("model/model.safetensors"))
    return artifact.table("run"), {name: tensor.tobytes() for name, tensor in weights.items()}


def test_the_manifest_records_what_sha256sum_says(tmp_path):
    artifact = made(tmp_path)
    files = [path for path in sorted(artifact.path.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    said = subprocess.run(["sha256sum", *files], capture_output=True, text=True, check=True).stdout.split()
    recorded = {
        str(artifact.path / name): (each["sha256"], each["bytes"]) for name, each in artifact.manifest["files"].items()
    }
    assert len(files) == 5
    assert recorded == {
        path: (digest, Path(path).stat().st_size) for digest, path in zip(said[::2], said[1::2], strict=True)
    }


@pytest.mark.parametrize("name", ["run/part-00001.parquet", "model/model.safetensors"])
def test_no_single_bit_flip_goes_unnoticed(tmp_path, fresh, name):
    artifact = made(tmp_path)
    want, path, draw = read(artifact), artifact.path / name, random.Random(15)
    whole = path.read_bytes()
    for _ in range(FLIPS):
        flip(path, draw)
        with pytest.raises(DamagedError, match=rf"{path} is damaged: its checksum differs; delete it and run the"):
            read(artifact)
        path.write_bytes(whole)
    fresh()
    assert read(opened(artifact.path)) == want


def test_no_flip_in_the_manifest_changes_what_it_says(tmp_path):
    artifact = made(tmp_path)
    path, draw, refused = artifact.path / "manifest.json", random.Random(16), 0
    whole = path.read_bytes()
    for _ in range(FLIPS):
        flip(path, draw)
        try:
            assert opened(artifact.path).manifest == artifact.manifest  # a blank became another
        except DamagedError as error:
            refused += str(path) in str(error)
        path.write_bytes(whole)
    assert refused > FLIPS / 2


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"fingerprint": "other"}', "\x00\x01", "[" * 9999])
def test_a_damaged_manifest_is_said_and_the_artifact_made_again(tmp_path, fresh, capsys, text):
    artifact = made(tmp_path)
    want = read(artifact)
    (artifact.path / "manifest.json").write_text(text)
    with pytest.raises(DamagedError, match=r"manifest\.json .*delete it and run the command that made it again"):
        opened(artifact.path)
    fresh()
    assert read(made(tmp_path)) == want
    assert "manifest.json is" in capsys.readouterr().err


@pytest.mark.parametrize("reader", [read_shard, lambda path, _: shard_metadata(path)])
@pytest.mark.parametrize("harm", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"not parquet"])
def test_every_reader_of_shards_looks_at_the_checksum(tmp_path, harm, reader):
    path = made(tmp_path).path / "run" / "part-00001.parquet"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(DamagedError, match=rf"{path} is damaged"):
        reader(path, "run")
    path.unlink()
    with pytest.raises(DamagedError, match=rf"{path} is missing; run the command that made it again"):
        reader(path, "run")


def test_a_shard_that_is_gone_is_missed(tmp_path):
    artifact = made(tmp_path)
    (artifact.path / "run" / "part-00002.parquet").unlink()
    with pytest.raises(DamagedError, match=r"part-00002\.parquet is missing"):
        artifact.shards("run")


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
@pytest.mark.parametrize("name", ["run/part-00001.parquet", "model/modules.json"])
def test_a_file_that_is_gone_or_cut_is_made_again_without_being_read(tmp_path, fresh, capsys, name, harm):
    artifact = made(tmp_path)
    want = read(artifact)
    harm(artifact.path / name)
    fresh()
    assert read(made(tmp_path)) == want
    (said,) = [line for line in capsys.readouterr().err.splitlines() if name in line]
    assert said.startswith("toy        /")
    assert said.endswith("; computing it again")


def test_a_run_repairs_what_it_reads_and_keeps_what_is_intact(tmp_path, fresh, capsys):
    artifact = made(tmp_path)
    want, draw, kept = read(artifact), random.Random(17), []
    flip(artifact.path / "run" / "part-00001.parquet", draw)
    fresh()

    def _body(draft):
        kept.extend(path.name for path in sorted((draft.path / "run").iterdir()))
        write(draft)

    assert repaired(lambda: read(made(tmp_path, _body))) == want
    assert kept == ["part-00000.parquet", "part-00002.parquet"]
    assert capsys.readouterr().err.count("part-00001.parquet is damaged: its checksum differs; computing it again") == 1
    fresh()
    assert read(made(tmp_path, never)) == want


def test_intact_files_are_kept_if_the_manifest_is_cut(tmp_path, fresh):
    artifact, kept = made(tmp_path), []
    path = artifact.path / "manifest.json"
    text = path.read_text()
    path.write_text(text[: text.index('"run/part-00002')])
    flip(artifact.path / "run" / "part-00000.parquet", random.Random(18))
    fresh()

    def _body(draft):
        kept.extend(path.name for path in sorted((draft.path / "run").iterdir()))
        write(draft)

    made(tmp_path, _body)
    assert kept == ["part-00001.parquet"]  # the cut part had the sums of the others


def test_what_is_damaged_each_time_is_not_made_forever(tmp_path, fresh):
    def _body(draft):
        write(draft)
        draft.files["run/part-00000.parquet"]["sha256"] = "0" * 64

    made(tmp_path, _body)
    fresh()
    with pytest.raises(DamagedError, match=r"part-00000\.parquet is damaged"):
        repaired(lambda: read(made(tmp_path, _body)))


def test_the_artifact_of_another_run_is_not_repaired(tmp_path, fresh):
    artifact = made(tmp_path)
    path = artifact.path / "run" / "part-00001.parquet"
    flip(path, random.Random(19))
    fresh()
    with pytest.raises(DamagedError, match=r"part-00001\.parquet is damaged"):
        repaired(lambda: opened(artifact.path).table("run"))
    assert path.exists()


def test_a_folder_is_checked_whole(tmp_path):
    artifact = made(tmp_path)
    assert check(artifact.path / "model") == artifact.path / "model"
    (artifact.path / "model" / "modules.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"modules\.json is damaged"):
        check(artifact.path / "model")
    with pytest.raises(DamagedError, match=r"modules\.json is damaged"):
        check(artifact.path)
    assert check(artifact.path / "run")


def test_what_is_in_no_artifact_is_not_checked(tmp_path):
    (tmp_path / "model").mkdir()
    for text in ("{", "[]", '{"files": {"model/a": 1}, "checksum": 2}', json.dumps({"fingerprint": tmp_path.name})):
        (tmp_path / "manifest.json").write_text(text)
        assert check(tmp_path / "model") == tmp_path / "model"


def test_an_artifact_of_an_earlier_version_is_read_unchecked(tmp_path, fresh):
    artifact = made(tmp_path)
    manifest = {key: value for key, value in artifact.manifest.items() if key not in ("files", "checksum")}
    (artifact.path / "manifest.json").write_text(json.dumps(manifest))
    (artifact.path / "model" / "modules.json").write_text("{}")
    fresh()
    assert check(made(tmp_path, never).path / "model")
    # A manifest with one of the two is no earlier version's.
    for key in ("files", "checksum"):
        (artifact.path / "manifest.json").write_text(json.dumps(manifest | {key: artifact.manifest[key]}))
        with pytest.raises(DamagedError, match="its checksum differs"):
            opened(artifact.path)


def test_the_copy_of_a_folder(tmp_path):
    artifact, copy = made(tmp_path), tmp_path / "copy"
    shutil.copytree(artifact.path / "model", copy)
    check_copy(copy, artifact.path, "model")
    (copy / "modules.json").write_text("{}")
    check_copy(copy, artifact.path, "model", {"modules.json"})
    with pytest.raises(StorageError, match=rf"{copy / 'modules.json'} is damaged.*; delete {copy} and run the command"):
        check_copy(copy, artifact.path, "model")
    (copy / "modules.json").unlink()
    with pytest.raises(StorageError, match=rf"{copy / 'modules.json'} is missing; delete {copy} and"):
        check_copy(copy, artifact.path, "model")
    shutil.rmtree(artifact.path)
    check_copy(copy, artifact.path, "model")
