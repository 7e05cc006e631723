import json
import random
import threading
import time

import numpy as np
import psutil
import pytest
from sentence_transformers import SentenceTransformer

from gradret.config.resources import TrainResources
from gradret.config.train import Train
from gradret.encoders._static_student import StaticStudent
from gradret.encoders.pretrained import Pretrained
from gradret.encoders.static import Static
from gradret.encoders.transformer import Transformer
from gradret.errors import ConfigError, DataError, StageError
from gradret.losses.infonce import InfoNCE
from gradret.losses.kl import KL
from gradret.stages.train import train
from gradret.training.fit import _error_file, _worker, _worker_error
from gradret.training.loop import Job

from . import outside, tiny

TEXTS = ["bal dim", "", "kun kun kun gor", "never seen", " ".join(tiny.WORDS * 9)]


def groups(storage):
    """Queries that repeat words of their source document; the more words two share, the better the grade."""
    draw = random.Random(1)
    docs = [tiny.sentence(draw, 8) for _ in range(40)]
    queries, rows = [], []
    for number in range(48):
        source = number % 40
        words = docs[source].split()[:3]
        queries.append(tiny.query(number, " ".join(words), source=f"d{source:03d}"))
        pool = [source, *(n for n in draw.sample(range(40), 6) if n != source)]
        shared = [len(set(words) & set(docs[n].split())) / 3 for n in pool]
        rows.append(
            {
                "query_id": f"q{number:03d}",
                "split": "dev" if source % 5 == 0 else "train",
                "source_doc_id": f"d{source:03d}",
                "kind": "test",
                "doc_ids": [f"d{n:03d}" for n in pool],
                "grades": shared,
                "scores": shared,
                "positives": [n == source for n in pool],
                "relevant_doc_ids": [f"d{source:03d}"],
            }
        )
    return (
        tiny.artifact(storage, "ingest", {"docs": [[tiny.doc(n, text) for n, text in enumerate(docs)]]}),
        tiny.artifact(storage, "generate", {"queries": [queries]}),
        tiny.artifact(storage, "select", {"groups": [rows]}),
    )


def settings_of(**keys):
    resources = TrainResources(num_workers=2, threads=1, chunk_size=16)
    loss = (KL(teacher_temperature=0.3), InfoNCE(weight=0.1))
    keys = {"encoder": Static(), "loss": loss, "epochs": 3, "learning_rate": 1e-2, "resources": resources} | keys
    keys = {"choose_by": "dev_loss"} | keys
    return Train(batch_size=16, warmup=0.05, floor=0.1, **keys)


def test_two_workers_train_and_the_exported_model_is_the_best_student(settings, tmp_path, ray_session, monkeypatch):
    seen = {}

    def _save(self, folder):
        tokens = self.tokenize(["bal dim", "", "kun kun kun gor"], "docs")
        starts = np.cumsum([0, *map(len, tokens)])
        seen["vectors"] = self(np.concatenate(tokens), starts).detach().numpy()
        real(self, folder)

    real = StaticStudent.save
    monkeypatch.setattr(StaticStudent, "save", _save)
    config = settings(train=settings_of())
    base = tiny.model(tmp_path, "static")
    tuned = train(config, base, *groups(tmp_path))

    model = SentenceTransformer(str(tuned.path / "model"), device="cpu")
    got = model.encode(["bal dim", "", "kun kun kun gor"], convert_to_numpy=True)
    np.testing.assert_allclose(got, seen["vectors"], atol=1e-5)
    before = SentenceTransformer(str(base.path / "model"), device="cpu")
    assert np.abs(before.encode(TEXTS) - model.encode(TEXTS)).max() > 0.01

    curve = [json.loads(line) for line in (tuned.path / "metrics.jsonl").read_text().splitlines()]
    dev = [line["dev_loss"] for line in curve if "dev_loss" in line]
    assert dev[-1] < dev[0]
    notes = tuned.manifest["notes"]
    best = dev.index(min(dev))
    assert notes["best_dev_loss"] == min(dev)
    assert (notes["epochs"], notes["steps"], notes["best_epoch"]) == (3, 9, best)
    assert tuned.counts == {"rows_in": 48, "rows_out": 48, "quarantined": 0, "train": 38, "dev": 10}
    assert notes["lists"] == {"train.loss[0] kl": 38, "train.loss[1] infonce": 38}
    # Nothing but the result is left.
    assert sorted(path.name for path in tuned.path.iterdir()) == [
        "manifest.json",
        "metrics.jsonl",
        "model",
        "tensorboard",
    ]


def test_a_refusal_comes_back_as_it_is(settings, tmp_path, monkeypatch):
    """A worker leaves it in the work folder instead of failing, which Ray Train would try three times."""
    (tmp_path / "work").mkdir()

    def _raise(job):
        raise DataError("the loss became nan in the batch that begins with query 'q1'")

    monkeypatch.setattr("gradret.training.loop.train_loop", _raise)
    job = Job(settings_of(), 0, tmp_path, tmp_path / "work", tmp_path / "metrics.jsonl")
    _worker(job)
    assert _error_file(job).read_text() == "the loss became nan in the batch that begins with query 'q1'"


def test_an_encoder_that_cannot_be_trained_is_refused(settings, tmp_path):
    with pytest.raises(ConfigError, match=r"train\.encoder: Pretrained cannot be trained"):
        train(settings(train=Train(encoder=Pretrained(), loss=(KL(),))), *[None] * 4)


def test_what_a_worker_raised_comes_out_of_its_wrapping():
    failed = RuntimeError("training failed")
    failed.worker_failures = {1: DataError("the loss became nan")}
    assert str(_worker_error(failed)) == "the loss became nan"
    assert isinstance(_worker_error(ValueError("x")), StageError)


def test_a_node_lost_while_workers_start_is_replaced(settings, tmp_path, ray_session, monkeypatch, capsys):
    """Ray Train ends for it, as ``benchmarks.kill_nodes`` met it; another error is not tried again."""
    from ray.exceptions import ActorUnavailableError
    from ray.train import ControllerError
    from ray.train.torch import TorchTrainer

    errors, fit = [ControllerError(ActorUnavailableError("connection reset", None))], TorchTrainer.fit
    monkeypatch.setattr(TorchTrainer, "fit", lambda self: raise_first(errors) or fit(self))
    config = settings(storage_path=str(tmp_path), train=settings_of())
    train(config, tiny.model(tmp_path, "static"), *groups(tmp_path))
    assert not errors
    assert "a node was lost while the workers started" in capsys.readouterr().err
    errors.append(ControllerError(ValueError("no such thing")))
    config = settings(storage_path=str(tmp_path), train=settings_of(learning_rate=0.5))
    with pytest.raises(StageError, match="no such thing"):
        train(config, tiny.model(tmp_path, "static"), *groups(tmp_path))


def raise_first(errors):
    if errors:
        raise errors.pop()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_changes_nothing(workers, settings, tmp_path, ray_session):
    """kill -9 in the middle of an epoch, with dropout on: Ray Train starts another that goes on from the checkpoint."""
    resources = TrainResources(workers, threads=1, chunk_size=16, checkpoint_every=2)
    encoder = Transformer(dropout=0.1, query_length=16, document_length=16)

    def trained(storage, seconds):
        losses = (outside.SlowKL(seconds=seconds),)
        config = settings(
            storage_path=str(storage), train=settings_of(encoder=encoder, loss=losses, resources=resources)
        )
        return train(config, tiny.model(storage, "transformer"), *groups(storage)).path

    killed, listened, ran = [], set(), set()
    killer = threading.Thread(target=kill_worker, args=(tmp_path / "killed", 4, killed, listened, ran), daemon=True)
    killer.start()
    disturbed, whole = trained(tmp_path / "killed", 0.3), trained(tmp_path / "whole", 0.0)
    assert 4 <= killed[0] < 9
    assert not any("PreemptionWatcher" in name for name in ran)  # this machine announces no end
    assert {address.removeprefix("::ffff:") for address in listened} == {"127.0.0.1"}
    (weights,), (others,) = (list((path / "model").rglob("*.safetensors")) for path in (whole, disturbed))
    assert weights.read_bytes() == others.read_bytes()
    assert (whole / "metrics.jsonl").read_text() == (disturbed / "metrics.jsonl").read_text()


def kill_worker(storage, step, killed, listened, ran):
    while True:
        for path in storage.glob("artifacts/train/*/metrics.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
            if lines and lines[-1]["step"] >= step:
                children = psutil.Process().children(recursive=True)
                names = {child: " ".join(child.cmdline()) for child in children}
                ran |= set(names.values())
                workers = [child for child, name in names.items() if "RayTrainWorker" in name]
                killed.append(lines[-1]["step"])
                sockets = [each for worker in workers for each in worker.net_connections()]
                listened |= {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
                workers[-1].kill()
                return
        time.sleep(0.05)
