"""train_loop: stopped and resumed, it gives the result of an uninterrupted training."""

import dataclasses
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from gradret.config.resources import TrainResources
from gradret.config.train import Train
from gradret.errors import DataError
from gradret.losses import Mean
from gradret.losses.bixse import BiXSE
from gradret.losses.infonce import InfoNCE
from gradret.losses.joint_lh import JointLH
from gradret.losses.kl import KL
from gradret.store.artifacts import write_shard
from gradret.store.contracts import GENERATED
from gradret.training import loop
from gradret.training.dev import sample
from gradret.training.loop import Job, train_loop
from gradret.training.tokens import write_ids, write_tokens

from ..processes import wait_until
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
        write_tokens(work / "tokens" / split, [""] * count, lambda them, table: texts(len(them), 0), "queries")
    write_tokens(work / "tokens" / "docs", [""] * len(DOCS), lambda them, table: texts(len(them), 2), "docs")
    write_ids(work, pa.array(DOCS))
    np.save(work / "sample.npy", np.arange(0, 40, 3))
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
    assert [(line["epoch"], line["step"]) for line in dev] == [(0, 0), (1, 4), (2, 8), (3, 12), (4, 16)]
    assert dev[-1]["dev_loss"] < dev[0]["dev_loss"]
    rates = [line["learning_rate"] for line in steps]
    assert rates[0] == pytest.approx(RATE)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(RATE * (0.1 + 0.9 / 15))


def test_best_holds_the_lowest_dev_loss(whole):
    dev = [line for line in lines(whole) if "dev_loss" in line]
    same_as_best(whole, dev, min(dev, key=lambda line: line["dev_loss"]))


def test_the_loss_chooses_without_a_ranking(whole):
    """No documents but those of the lists are encoded."""
    assert not any("dev_ndcg" in line for line in lines(whole))
    assert loop._Training(whole).sample is None


def test_the_last_epoch_is_kept_whatever_the_dev_queries_say(tmp_path):
    """At this rate the student only gets worse, so by any measure the untrained weights would win."""
    made = job(tmp_path, choose_by="last", learning_rate=5.0, patience=1)
    train_loop(made)
    dev = [line for line in lines(made) if "dev_loss" in line]
    assert dev[-1]["epoch"] == EPOCHS
    assert min(line["dev_loss"] for line in dev) == dev[0]["dev_loss"]
    same_as_best(made, dev, dev[-1])
    last, _ = loop.load_checkpoint(made.work / "last.safetensors")
    best, progress = loop.load_checkpoint(made.work / "best.safetensors")
    assert progress["best_epoch"] == EPOCHS
    for name, tensor in best.items():
        torch.testing.assert_close(tensor, last[name], rtol=0, atol=0)


def test_best_holds_the_highest_dev_ndcg_if_that_chooses(tmp_path):
    made = job(tmp_path, choose_by="dev_ndcg")
    train_loop(made)
    dev = [line for line in lines(made) if "dev_loss" in line]
    best = max(dev, key=lambda line: line["dev_ndcg"])
    assert best["dev_ndcg"] < 1
    same_as_best(made, dev, best)


def same_as_best(made, dev, best):
    tensors, progress = loop.load_checkpoint(made.work / "best.safetensors")
    expected = {name: best[name] for name in ("dev_loss", "dev_ndcg") if name in best}
    assert progress["best"] == expected
    assert progress["best_epoch"] == dev.index(best)
    training = loop._Training(made)
    loop.restore(training.parameters, tensors, made.work)
    assert training._evaluate_dev() == expected


@pytest.mark.parametrize("loss", [BiXSE(), InfoNCE(), JointLH()], ids=lambda loss: type(loss).__name__)
def test_lists_of_one_document_train(tmp_path, loss):
    """One labelled pair a query; what the loss contrasts it with are the other queries' documents."""
    made = job(tmp_path, loss=(loss,), list_length=1)
    train_loop(made)
    dev = [line["dev_loss"] for line in lines(made) if "dev_loss" in line]
    assert 0 < min(dev) < dev[0]


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
        wait_until(marker.exists, process)
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
    assert (progress["epoch"], progress["best_epoch"]) == (1, 0)


class _Broken(torch.nn.Module):
    def forward(self, given):
        return Mean(given.scores_QN.sum() * torch.nan, torch.tensor(1))


@dataclasses.dataclass(frozen=True)
class Broken:
    weight: float = 1.0
    needs: ClassVar = ()
    whole_batch: ClassVar = False

    def load(self):
        return _Broken()


def test_a_loss_that_is_not_finite_names_a_query(tmp_path):
    made = job(tmp_path, loss=(Broken(),))
    with pytest.raises(DataError, match=r"the loss became nan .* 'q0\d\d'"):
        train_loop(made)
    assert loop.load_checkpoint(made.work / "last.safetensors")[1]["step"] == 0


def test_checkpoints_inside_an_epoch_change_nothing_and_are_gone_on_from(whole, tmp_path, monkeypatch):
    resources = dataclasses.replace(RESOURCES, checkpoint_every=3)
    made, calls = job(tmp_path, resources=resources), []

    def _stop(*given):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return real(*given)

    real = loop.backward
    monkeypatch.setattr(loop, "backward", _stop)
    with pytest.raises(KeyboardInterrupt):
        train_loop(made)
    monkeypatch.undo()
    _, progress = loop.load_checkpoint(made.work / "last.safetensors")
    assert (progress["epoch"], progress["step"]) == (1, 6)
    train_loop(made)
    assert made.metrics.read_text() == whole.metrics.read_text()
    assert checkpoints(made) == checkpoints(whole)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    made = job(tmp_path, epochs=1)
    train_loop(made)
    path = made.work / "last.safetensors"
    tensors, progress = loop.load_checkpoint(path)
    loop.save_checkpoint(path, tensors | {"student.0": torch.zeros(3, 3)}, progress)
    message = r"last\.safetensors is a checkpoint of another model: student\.0 has shape \(3, 3\)"
    with pytest.raises(DataError, match=message):
        train_loop(made)


def test_tensorboard_shows_the_same_curve(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(whole.metrics.with_name("tensorboard")))
    board.Reload()
    for name in ("loss", "learning_rate", "dev_loss", "masked"):
        want = [(line["step"], line[name]) for line in lines(whole) if name in line]
        assert [(event.step, event.value) for event in board.Scalars(name)] == [
            (step, pytest.approx(value, rel=1e-6)) for step, value in want
        ]


def test_steps_of_several_batches_and_a_least_warm_up(tmp_path):
    """Four batches an epoch, three and one a step: two steps; the rate rises for five although the share says one."""
    made = job(tmp_path, accumulate=3, warmup_steps=5)
    train_loop(made)
    steps = [line for line in lines(made) if "loss" in line]
    assert [(line["epoch"], line["step"]) for line in steps] == [(n // 2, n + 1) for n in range(2 * EPOCHS)]
    assert [line["learning_rate"] for line in steps[:5]] == pytest.approx([RATE * n / 5 for n in range(1, 6)])
    assert steps[5]["learning_rate"] == pytest.approx(RATE)
    assert steps[6]["learning_rate"] < RATE


def test_clipping_scales_the_gradient_and_decay_spares_vectors(tmp_path):
    made = job(tmp_path, max_grad_norm=1e-3, weight_decay=0.5, epochs=1)
    train_loop(made)
    assert all(line["grad_norm"] > 1e-3 for line in lines(made) if "loss" in line)
    training = loop._Training(made)
    decay = {id(p): group["weight_decay"] for group in training.optimizer.param_groups for p in group["params"]}
    for name, parameter in training.parameters.items():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0), name


def test_learned_parameters_of_a_loss_are_trained_saved_and_restored(tmp_path):
    made = job(tmp_path / "first", loss=(BiXSE(),), epochs=2)
    train_loop(made)
    tensors, _ = loop.load_checkpoint(made.work / "last.safetensors")
    (name,) = (name for name in tensors if name.startswith("loss."))
    assert tensors[name] != BiXSE().bias
    slower = job(tmp_path / "slower", loss=(BiXSE(),), epochs=2, loss_learning_rate=RATE / 10)
    train_loop(slower)
    moved, less = (
        abs(loop.load_checkpoint(each.work / "last.safetensors")[0][name] - BiXSE().bias) for each in (made, slower)
    )
    assert 0 < less < moved / 5
    # A training that starts from that model starts with its bias.
    save_file({name: tensors[name]}, made.model.parent / "loss.safetensors")
    again = job(tmp_path / "first" / "again", loss=(BiXSE(),), epochs=2)
    training = loop._Training(dataclasses.replace(again, model=made.model.parent / "model"))
    assert training.parameters[name].item() == tensors[name].item()


def test_a_calibrated_temperature_is_found_once_and_kept(tmp_path):
    made = job(tmp_path, loss=(KL(student_temperature="calibrated"), InfoNCE(weight=0.1)), epochs=1)
    train_loop(made)
    _, progress = loop.load_checkpoint(made.work / "last.safetensors")
    chosen = progress["calibrated"]["0"]["student_temperature"]
    untrained = loop._Training(job(tmp_path / "other"))
    assert KL(student_temperature="calibrated").calibrated(untrained._untrained_lists()).student_temperature == chosen
    assert loop._Training(made)._losses()[0].student_temperature == chosen


def test_the_dev_corpus_is_drawn_from_the_corpus_alone():
    written = [f"{GENERATED}q{number}~3" for number in range(50)]
    drawn = [DOCS[number] for number in sample(pa.array(DOCS), 10, 0)]
    mixed = sorted([*DOCS, *written, "zebra"])
    assert len(set(drawn)) == 10
    assert {mixed[number] for number in sample(pa.array(mixed), 99, 0)} == {*DOCS, "zebra"}
    after = [*DOCS, *written]
    assert [after[number] for number in sample(pa.array(after), 10, 0)] == drawn
