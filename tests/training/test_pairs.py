"""Training a cross-encoder: its step against plain PyTorch, and a training that was killed against one that was not."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from gradret.config.resources import TrainResources
from gradret.config.train_teacher import TrainTeacher
from gradret.losses.infonce import InfoNCE
from gradret.losses.listnet import ListNet
from gradret.losses.ranknet import RankNet
from gradret.teachers.cross_encoder import CrossEncoder
from gradret.training import loop
from gradret.training.batches import Pairs
from gradret.training.loop import Job, load_lists, train_loop
from gradret.training.objective import Objective
from gradret.training.pairs import write_pairs
from gradret.training.step import Texts, backward
from gradret.training.tokens import Tokens, write_tokens

from ..processes import wait_until
from ..teachers import tiny_models
from .students import rows, sentences, table

DOCS = [f"d{number:03d}" for number in range(40)]
TEXT_OF = dict(zip(DOCS, sentences(40, 1), strict=True))
LISTS = [row | {"positives": [True] + [False] * (len(row["doc_ids"]) - 1)} for row in rows(12, DOCS)]
ASKED = {row["query_id"]: text for row, text in zip(LISTS, sentences(12, 2, 4), strict=True)}
LOSSES = {
    "infonce": InfoNCE(temperature=1.0),
    "listnet": ListNet(temperature=1.0, teacher_temperature=0.5),
    "ranknet": RankNet(temperature=1.0),
}


def job(folder, model, **settings):
    """A training of three steps an epoch on lists whose pairs are tokenized, the first four held out."""
    teacher = CrossEncoder(str(model))
    train = TrainTeacher(
        teacher=teacher, loss=(LOSSES["infonce"],), epochs=2, batch_size=2, accumulate=2, learning_rate=1e-3,
        list_length=5, resources=TrainResources(chunk_size=7, threads=1), **settings,
    )  # fmt: skip
    made = Job(train, 0, model, folder / "work", folder / "metrics.jsonl")
    parts = {"train": table(LISTS[4:]), "dev": table(LISTS[:4])}
    ids = write_pairs(made, parts)
    pairs = [(ASKED[row["query_id"]], TEXT_OF[doc]) for row in [*LISTS[4:], *LISTS[:4]] for doc in row["doc_ids"]]
    ordered = [pairs[place] for place in np.argsort(ids)]
    tokenize = train.student(model).tokenize
    write_tokens(made.work / "tokens" / "docs", ordered, tokenize, "docs")
    for split, part in parts.items():
        write_tokens(made.work / "tokens" / split, [""] * part.num_rows, tokenize, "queries")
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"bert": tiny_models.bert(folder / "bert"), "roberta": tiny_models.roberta(folder / "roberta")}


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_equals_plain_pytorch(tmp_path, models, family, loss):
    """Its loss and gradients, with pairs scored in chunks and two batches accumulated."""
    made = job(tmp_path, models[family], dropout=0.0)
    student = made.settings.student(models[family]).double()
    lists, tokens = load_lists(made, "train"), made.work / "tokens"
    batches = list(lists.epoch(0, 4))
    texts = Texts(Tokens(tokens / "train"), Tokens(tokens / "docs"), chunk_size=7)
    found = backward(student, Objective([LOSSES[loss]]).double(), batches, texts)

    plain = AutoModelForSequenceClassification.from_pretrained(models[family]).double()
    want = sum(plain_loss(plain, models[family], lists, batch, loss) for batch in batches) / 2
    want.backward()
    assert found == pytest.approx(float(want.detach()), abs=1e-6)
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    own = {name: parameter.grad for name, parameter in student.model[0].model.named_parameters()}
    assert own.keys() == gradients.keys()
    assert any(gradient is not None and gradient.abs().max() > 1e-3 for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            own[name] if gradient is None else own[name].float(), None if gradient is None else gradient.float(),
            rtol=1e-6, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


def plain_loss(model, folder, lists, batch, loss):
    """The batch's mean loss, each list scored by itself."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text_of = {f"{row['query_id']} {doc}": TEXT_OF[doc] for row in LISTS for doc in row["doc_ids"]}
    losses = []
    for place, query in enumerate(batch.queries_Q):
        query_id = lists.query_ids[query]
        row = next(row for row in LISTS if row["query_id"] == query_id)
        numbers = batch.docs_N[batch.columns_QG[place][batch.present_QG[place]]]
        at = [lists.docs[query].tolist().index(number) for number in numbers]
        docs, grades = [row["doc_ids"][each] for each in at], [row["grades"][each] for each in at]
        assert at[0] == 0  # the positive
        pairs = [(ASKED[query_id], text_of[f"{query_id} {doc}"]) for doc in docs]
        inputs = tokenizer(*map(list, zip(*pairs, strict=True)), padding=True, truncation=True, return_tensors="pt")
        losses.append(OF[loss](model(**inputs).logits[:, 0], grades))
    totals, counts = zip(*losses, strict=True)
    return sum(totals) / max(1, sum(counts))


def listnet(scores, grades):
    graded = [n for n, grade in enumerate(grades) if grade is not None]
    if len(graded) < 2:
        return 0.0, 0
    wanted = (torch.tensor([grades[n] for n in graded], dtype=torch.float32).double() / 0.5).softmax(0)
    return -(wanted * scores[graded].log_softmax(0)).sum(), 1


def ranknet(scores, grades):
    known = [(n, grade) for n, grade in enumerate(grades) if grade is not None]
    terms = [torch.nn.functional.softplus(scores[m] - scores[n]) for n, a in known for m, b in known if a > b]
    return sum(terms), len(terms)


OF = {"infonce": lambda scores, grades: (-scores.log_softmax(0)[0], 1), "listnet": listnet, "ranknet": ranknet}


def test_the_pairs_of_other_queries_are_masked(tmp_path, models):
    made = job(tmp_path, models["bert"])
    (batch,) = load_lists(made, "train").in_order(100)
    assert len(batch.docs_N) == batch.present_QG.sum()
    masked = {tuple(pair) for pair in batch.masked_2M.T}
    own = {(row, column) for row, columns in enumerate(batch.columns_QG) for column in columns[batch.present_QG[row]]}
    assert masked | own == {(row, column) for row in range(8) for column in range(len(batch.docs_N))}
    assert not masked & own


def test_a_held_out_list_is_whole(tmp_path, models):
    made = job(tmp_path, models["bert"])
    assert max(next(load_lists(made, "train").in_order(100)).present_QG.sum(axis=1)) == 5
    (batch,) = load_lists(made, "dev").in_order(100)
    assert batch.present_QG.sum() == sum(len(row["doc_ids"]) for row in LISTS[:4])
    assert isinstance(load_lists(made, "dev"), Pairs)


CODE = """
import pickle, sys, time
from pathlib import Path
from gradret.training import loop
real, calls = loop.backward, []
def backward(*given, **more):
    calls.append(1)
    if len(calls) == 4:
        Path(sys.argv[2]).touch()
        time.sleep(600)
    return real(*given, **more)
loop.backward = backward
loop.train_loop(pickle.loads(bytes.fromhex(sys.argv[1])))
"""


def test_killed_and_started_again_it_gives_the_same_weights(tmp_path, models):
    whole, made = (job(tmp_path / name, models["bert"], dropout=0.1) for name in ("whole", "killed"))
    train_loop(whole)
    marker = tmp_path / "here"
    command = [sys.executable, "-c", CODE, pickle.dumps(made).hex(), str(marker)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        wait_until(marker.exists, process)
        process.send_signal(signal.SIGKILL)
    assert loop.load_checkpoint(made.work / "last.safetensors")[1]["step"] == 2
    train_loop(made)
    assert made.metrics.read_text() == whole.metrics.read_text()
    for name in ("best", "last"):
        assert (made.work / f"{name}.safetensors").read_bytes() == (whole.work / f"{name}.safetensors").read_bytes()
