"""Trackers: what reaches them of a curve that is being written, and MLflow's own record of it."""

import importlib.util
import json
import struct

import pytest

from gradret.config.loading import parse
from gradret.errors import ConfigError, StageError
from gradret.flow import Flow
from gradret.training.trackers import TRACKERS, Curve, open_trackers, require_trackers
from gradret.training.watching import last_lines
from tests.processes import wait_until

LINES = [{"epoch": 0, "step": 0, "dev_loss": 3.5}] + [
    {"epoch": 0, "step": step, "loss": 2.5 / step, "learning_rate": 0.25} for step in range(1, 6)
]
TEXT = "".join(json.dumps(line) + "\n" for line in LINES)


class Recorder:
    """A tracker that keeps what it gets, until it fails."""

    def __init__(self, failing=False):
        self.rows, self.failing, self.ended = [], failing, None

    def log(self, rows):
        if self.failing:
            raise ConnectionError("no route")
        self.rows += [{"step": step, **values} for step, values in rows]

    def close(self, *, failed):
        self.ended = failed


def ordered(rows):
    return [dict(sorted(row.items())) for row in rows]


def test_every_line_is_sent_once_however_the_file_grows():
    tracker = Recorder()
    curve = Curve([tracker])
    for end in range(0, len(TEXT) + 1, 7):
        curve.send(TEXT[:end])
    curve.send(TEXT)
    # A restarted training dropped the last three lines and writes them again.
    curve.send("".join(TEXT.splitlines(keepends=True)[:3]))
    curve.send(TEXT)
    curve.close(failed=False)
    assert ordered(tracker.rows) == ordered(LINES)
    assert tracker.ended is False


def test_a_tracker_that_fails_is_left_out(capsys):
    good, bad = Recorder(), Recorder(failing=True)
    curve = Curve([bad, good])
    curve.send(TEXT)
    curve.close(failed=True)
    assert ordered(good.rows) == ordered(LINES)
    assert good.ended is True
    assert bad.ended is None
    assert "train: recorder failed (ConnectionError: no route); the training goes on" in capsys.readouterr().err


def test_the_newest_lines_of_a_file_that_is_being_written():
    assert last_lines("") == (None, None)
    text = '{"dev_loss": 3}\n{"loss": 2, "step": 1}\n{"loss": 1, "st'
    assert last_lines(text) == ({"loss": 2, "step": 1}, {"dev_loss": 3})


def config(*trackers):
    train = {"resources": {"trackers": list(trackers)}}
    return parse({"name": "toy", "dataset": {"name": "pydocs"}, "train": train})


def test_an_unknown_tracker_is_a_config_error():
    with pytest.raises(
        ConfigError, match=r"train\.resources\.trackers: 'mlfow' is not a tracker; did you mean 'mlflow'"
    ):
        config("mlfow")


@pytest.mark.parametrize("stage", ["train", "report"])
def test_a_package_that_is_missing_stops_the_run_before_any_work(tmp_path, monkeypatch, stage):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "wandb" else found(name))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"trackers: wandb not installed on .*; pip install wandb, or leave it out"):
        Flow(config("wandb")).make(stage)
    assert not list(tmp_path.rglob("manifest.json"))


def test_trackers_decide_no_result():
    from gradret.store.fingerprint import canonical

    assert canonical(config("mlflow", "wandb").train) == canonical(config().train)


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """MLflow with a store of files."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    mlflow.set_tracking_uri(f"file:{tmp_path / 'mlruns'}")
    return mlflow


def test_mlflow_has_the_curve_of_a_training_that_was_killed_and_resumed(mlflow):
    killed = Curve(open_trackers(["mlflow"], "train/0a1b", {"epochs": 4, "loss": [{"name": "kl"}]}))
    killed.send("".join(TEXT.splitlines(keepends=True)[:4]))
    resumed = Curve(open_trackers(["mlflow"], "train/0a1b", {"epochs": 4, "loss": [{"name": "kl"}]}))
    resumed.send(TEXT)
    resumed.close(failed=False)
    client = mlflow.tracking.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("gradret").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"epochs": "4", "loss": '[{"name": "kl"}]'}
    assert run.data.tags["gradret.artifact"] == "train/0a1b"
    for name in ("loss", "learning_rate", "dev_loss", "epoch"):
        history = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        assert sorted(history) == [(line["step"], line[name]) for line in LINES if name in line]
    # The same training again, after its artifact was deleted, is another run.
    open_trackers(["mlflow"], "train/0a1b", {})
    assert len(client.search_runs([run.info.experiment_id])) == 2


def test_a_tracker_that_cannot_be_reached(mlflow, tmp_path):
    (tmp_path / "file").write_text("")
    mlflow.set_tracking_uri(f"file:{tmp_path / 'file' / 'mlruns'}")
    with pytest.raises(StageError, match=r"train: mlflow cannot begin a run \(\w+: .*\); check its address and login"):
        open_trackers(["mlflow"], "train/0a1b", {})


def records(path):
    """The whole records of W&B's log so far: after a header of 7 bytes each has its checksum, length and kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place = path.read_bytes(), 7
    while (start := place + 7) <= len(content):
        _, length, kind = struct.unpack_from("<IHB", content, place)
        assert kind == 1  # whole: the log is smaller than a block
        place = start + length
        if place <= len(content):
            yield Record.FromString(content[start:place])


def test_wandb_has_the_curve(tmp_path, monkeypatch):
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    curve = Curve(open_trackers(["wandb"], "train/0a1b", {"epochs": 4, "loss": [{"name": "kl"}]}))
    curve.send(TEXT)
    curve.close(failed=True)
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    # W&B's own process writes the file, and may do so after the run is finished.
    wait_until(lambda: any(record.WhichOneof("record_type") == "exit" for record in records(path)))
    found = {kind: [] for kind in ("run", "history", "exit")}
    for record in records(path):
        if (kind := record.WhichOneof("record_type")) in found:
            found[kind].append(getattr(record, kind))
    config = {item.key: json.loads(item.value_json) for item in found["run"][0].config.update}
    assert (found["run"][0].project, found["run"][0].run_id) == ("gradret", "train-0a1b")
    assert (config["epochs"], config["loss"]) == ("4", '[{"name": "kl"}]')
    rows = [{item.nested_key[0]: json.loads(item.value_json) for item in row.item} for row in found["history"]]
    own = [
        {key.lstrip("_"): value for key, value in row.items() if key not in ("_timestamp", "_runtime")} for row in rows
    ]
    assert ordered(own) == ordered(LINES)
    assert [end.exit_code for end in found["exit"]] == [1]


def test_every_tracker_can_be_named_in_the_config():
    assert config(*TRACKERS).train.resources.trackers == tuple(TRACKERS)
    require_trackers([])
