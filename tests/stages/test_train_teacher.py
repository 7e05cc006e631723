"""A cross-encoder learns a planted rule from lists, and scores as a teacher as it did in training."""

import random
import re
import shlex

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from gradret.cli import main
from gradret.config.loading import override
from gradret.config.resources import TrainResources
from gradret.config.run import Label
from gradret.config.train_teacher import TrainTeacher
from gradret.errors import ConfigError, DataError
from gradret.losses.infonce import InfoNCE
from gradret.losses.margin_mse import MarginMSE
from gradret.stages.train_teacher import sentences, train_teacher
from gradret.teachers.cross_encoder import CrossEncoder
from gradret.teachers.fusion import Fusion

from ..teachers import tiny_models
from . import tiny

RULE = {"bal": "kun", "dim": "gor"}
"""A document is relevant to a query with the first word if it has the second."""
PLAIN = [word for word in tiny.WORDS if word not in {*RULE, *RULE.values()}]


def lists(storage, queries=60, *, broken=False):
    draw = random.Random(0)
    texts = [" ".join([*draw.sample(PLAIN, 4), draw.choice(list(RULE.values()))]) for _ in range(40)]
    asked, rows = [], []
    for number in range(queries):
        word = draw.choice(list(RULE))
        asked.append(tiny.query(number, f"{draw.choice(PLAIN)} {word}", split="train"))
        right = [n for n, text in enumerate(texts) if RULE[word] in text.split()]
        wrong = [n for n in range(40) if n not in right]
        listed = [draw.choice(right), *draw.sample(wrong, 5)]
        grades = [1.0] + [0.0] * 5
        rows.append(
            {
                "query_id": f"q{number:03d}",
                "split": "dev" if number % 4 == 0 else "train",
                "source_doc_id": None,
                "kind": None,
                "doc_ids": [f"d{n:03d}" for n in listed[: 1 if broken else None]],
                "grades": grades[: 1 if broken else None],
                "scores": [0.0, 1.0, 0.0, 0.0, 0.0, 0.0][: 1 if broken else None],
                "positives": [True, *[False] * 5][: 1 if broken else None],
                "relevant_doc_ids": [f"d{listed[0]:03d}"],
            }
        )
    return (
        tiny.artifact(storage, "ingest", {"docs": [[tiny.doc(n, text) for n, text in enumerate(texts)]]}),
        tiny.artifact(storage, "generate", {"queries": [asked]}),
        tiny.artifact(storage, "select", {"groups": [rows]}),
    )


def settings_of(model, **changes):
    resources = TrainResources(threads=1, chunk_size=64)
    keys = {"teacher": CrossEncoder(str(model)), "loss": (InfoNCE(temperature=1.0),), "epochs": 8, "dropout": 0.0}
    keys |= {"batch_size": 8, "accumulate": 1, "learning_rate": 3e-3, "resources": resources}
    return TrainTeacher(**(keys | changes))


def test_it_learns_a_rule_and_is_a_teacher(settings, tmp_path, ray_session):
    folder = tiny_models.bert(tmp_path / "bert")
    config = settings(train_teacher=settings_of(folder), label=Label(Fusion()))
    made = train_teacher(config, *lists(tmp_path))
    notes = made.manifest["notes"]
    assert notes["best_dev_ndcg"] > 0.95
    assert made.counts == {"rows_in": 60, "rows_out": 60, "quarantined": 0, "train": 45, "dev": 15}
    # The scores of the lists put the positive after one other document.
    assert notes["dev_ndcg"]["label.teacher"] < 0.7

    teacher = CrossEncoder(str(made.path / "model")).load({})
    pairs = [(f"{PLAIN[0]} {one}", " ".join([*PLAIN[1:5], other])) for one in RULE for other in RULE.values()]
    pairs.append(("bal dim", " ".join(tiny.WORDS)))  # longer than the model reads
    scores = teacher.score_pairs(pairs)
    assert scores[0] > scores[1]
    assert scores[3] > scores[2]
    # transformers alone gives the same.
    tokenizer = AutoTokenizer.from_pretrained(made.path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(made.path / "model")
    inputs = tokenizer(*map(list, zip(*pairs, strict=True)), padding=True, truncation=True, return_tensors="pt")
    np.testing.assert_allclose(model(**inputs).logits[:, 0].detach(), scores, atol=1e-4)

    first, use, use_sum = sentences(config, made)
    assert re.match(r"nDCG@10 of the 15 held-out lists: [01]\.\d{4}; of label\.teacher: 0\.\d{4}; of their best", first)
    own = f"{{name: cross_encoder, model: {made.path / 'model'}}}"
    assert use == f"to use it: 'label.teacher={own}'"
    sums = f"{{name: weighted_sum, teachers: [{{name: fusion}}, {own}], weights: [1, {notes['dev_ndcg']['weight']}]}}"
    assert use_sum == f"to use the sum: 'label.teacher={sums}'"
    assert override(config, [shlex.split(use_sum.removeprefix("to use the sum: "))[0]]).label.teacher.weights[0] == 1


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"teacher": Fusion()}, ConfigError, "train_teacher.teacher: fusion cannot be trained; use cross_encoder"),
        ({"teacher": CrossEncoder("nowhere/at all")}, ConfigError, "is not a local folder"),
    ],
)
def test_what_cannot_be_trained_is_refused(settings, tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        train_teacher(settings(train_teacher=settings_of(tmp_path, **changes)), *[None] * 3)


def test_lists_that_no_loss_can_use_are_told(settings, tmp_path, ray_session):
    config = settings(train_teacher=settings_of(tiny_models.bert(tmp_path / "bert"), loss=(MarginMSE(),)))
    with pytest.raises(DataError, match="none of the 60 lists can be used for train; 60 were set aside, the first"):
        train_teacher(config, *lists(tmp_path, broken=True))


def test_the_command_names_what_is_wrong(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("name: a\ndataset: {name: pydocs}\ntrain_teacher: {teacher: {name: judge}, list_length: 1}\n")
    assert main(["train-teacher", str(config)]) == 2
    assert "train_teacher.list_length: must be at least 2, got 1" in capsys.readouterr().err
