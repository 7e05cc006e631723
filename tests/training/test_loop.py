"""train_loop: stopped and started again, it ends as if nothing had happened."""

import dataclasses
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gradret.artifacts import write_shard
from gradret.config import Train, TrainResources
from gradret.errors import DataError
from gradret.losses.infonce import InfoNCE
from gradret.losses.kl import KL
from gradret.training import loop
from gradret.training.loop import Job, train_loop
from gradret.training.tokens import write_tokens

from .students import Tiny, rows, table, texts

DOCS = [f"d{number:03d}" for number in range(40)]
EPOCHS, QUERIES, DEV, RATE = 4, 20, 6, 3e-3
RESOURCES = TrainResources(chunk_size=16, threads=1)


def job(folder, **settings):
    """A training of four steps an epoch."""
    work = folder / "work"
    # The dev queries are the first of the training queries: their loss is sure to fall.
    for split, count in (("train", QUERIES), ("dev", DEV)):
        write_shard(work / f"{split}.parquet", table(rows(count, DOCS)), "groups")
        write_tokens(work / "tokens" / split, [""] * count, lambda them: texts(len(them), 0))
    write_tokens(work / "tokens" / "docs", [""] * len(DOCS), lambda them: texts(len(them), 2))
    (work / "doc_ids.json").write_text(json.dumps(DOCS))
    train = Train(
        encoder=Tiny(), loss=(KL(), InfoNCE(weight=0.1)), epochs=EPOCHS, batch_size=6, learning_rate=RATE, patience=9,
        list_length=5, warmup=0.05, floor=0.1, choose_by="dev_loss", resources=RESOURCES,
    )  # fmt: skip
    return Job(dataclasses.replace(train, **settings), 0, folder, work, folder / "metrics.jsonl")


def lines(made):
    return [json.loads(line) for line in made.metrics.read_text().splitlines()]


def checkpoints(made):
    return {name: (made.work / f"{name}.safetensors").read_bytes() for name in ("best", "last")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing stopped."""
    made = job(tmp_path_factory.mktemp("whole"))
    train_loop(made)
    return made


def test_the_curve(whole):
    found = lines(whole)
    steps = [line for line in found if "loss" in line]
    dev = [line for line in found if "dev_loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 4 * EPOCHS + 1))
    assert [line["epoch"] for line in steps] == [epoch for epoch in range(EPOCHS) for _ in range(4)]
    assert [line["step"] for line in dev] == [0, 4, 8, 12, 16]
    assert dev[-1]["dev_loss"] < dev[0]["dev_loss"]
    rates = [line["learning_rate"] for line in steps]
    assert rates[0] == pytest.approx(RATE)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(RATE * (0.1 + 0.9 / 15))


def test_best_holds_the_lowest_dev_loss(whole):
    dev = [line for line in lines(whole) if "dev_loss" in line][1:]
    same_as_best(whole, dev, min(dev, key=lambda line: line["dev_loss"]))


def test_best_holds_the_highest_dev_ndcg_if_that_chooses(tmp_path):
    made = job(tmp_path, choose_by="dev_ndcg")
    train_loop(made)
    dev = [line for line in lines(made) if "dev_loss" in line][1:]
    best = max(dev, key=lambda line: line["dev_ndcg"])
    assert best["dev_ndcg"] < 1
    same_as_best(made, dev, best)


def same_as_best(made, dev, best):
    tensors, progress = loop.load_checkpoint(made.work / "best.safetensors")
    expected = {name: best[name] for name in ("dev_loss", "dev_ndcg")}
    assert progress["best"] == expected
    assert progress["best_epoch"] == dev.index(best)
    training = loop._Training(made)
    loop.restore(training.parameters, tensors)
    assert training._dev() == expected


CODE = """
import pickle, sys, time
from pathlib import Path
from gradret.training import loop
real, calls = loop.backward, []
def backward(*given, **more):
    calls.append(1)
    if len(calls) == 7:
        Path(sys.argv[2]).touch()
        time.sleep(600)
    return real(*given, **more)
loop.backward = backward
loop.train_loop(pickle.loads(bytes.fromhex(sys.argv[1])))
"""


def test_killed_in_the_middle_of_an_epoch_and_started_again(whole, tmp_path):
    made, marker = job(tmp_path), tmp_path / "here"
    command = [sys.executable, "-c", CODE, pickle.dumps(made).hex(), str(marker)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        deadline = time.monotonic() + 120
        while not marker.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    before = lines(made)
    assert loop.load_checkpoint(made.work / "last.safetensors")[1]["epoch"] == 1
    assert (before[-1]["epoch"], before[-1]["step"]) == (1, 6)
    # A line that was cut off is taken back too.
    made.metrics.write_text(made.metrics.read_text() + '{"epoch": 0, "st')

    train_loop(made)
    assert made.metrics.read_text() == whole.metrics.read_text()
    assert checkpoints(made) == checkpoints(whole)


@pytest.mark.parametrize("name", ["best", "last"])
def test_stopped_between_the_files_of_an_epoch(whole, tmp_path, monkeypatch, name):
    """Whether the first or the second of an epoch's checkpoints could not be written."""
    made, saved = job(tmp_path), []

    def _full(path, tensors, progress):
        saved.append(path.stem)
        if saved.count(name) == 2:
            raise OSError(28, "No space left on device")
        real(path, tensors, progress)

    real = loop.save_checkpoint
    monkeypatch.setattr(loop, "save_checkpoint", _full)
    with pytest.raises(OSError, match="space"):
        train_loop(made)
    monkeypatch.undo()
    train_loop(made)
    assert made.metrics.read_text() == whole.metrics.read_text()
    assert checkpoints(made) == checkpoints(whole)


def test_started_again_at_the_end_changes_nothing(whole):
    before = checkpoints(whole), whole.metrics.read_text()
    train_loop(whole)
    assert (checkpoints(whole), whole.metrics.read_text()) == before


def test_does_not_look_at_the_clock(whole, tmp_path, monkeypatch):
    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, lambda: 1e9)
    made = job(tmp_path)
    train_loop(made)
    assert checkpoints(made) == checkpoints(whole)


def test_stops_when_dev_is_no_longer_better(tmp_path):
    made = job(tmp_path, learning_rate=1e-30, patience=1)
    train_loop(made)
    _, progress = loop.load_checkpoint(made.work / "last.safetensors")
    assert (progress["epoch"], progress["best_epoch"]) == (2, 0)


class _Broken(torch.nn.Module):
    def forward(self, given):
        return given.scores_QN.sum() * torch.nan


@dataclasses.dataclass(frozen=True)
class Broken:
    weight: float = 1.0

    def load(self):
        return _Broken()


def test_a_loss_that_is_not_finite_names_a_query(tmp_path):
    made = job(tmp_path, loss=(Broken(),))
    with pytest.raises(DataError, match=r"the loss became nan .* 'q0\d\d'"):
        train_loop(made)
    assert not (made.work / "last.safetensors").exists()
