"""Losses over prefixes of the vectors, against sentence-transformers; the training step's tests cut them up."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss

from gradret.config.train import Train
from gradret.errors import ConfigError
from gradret.losses.infonce import InfoNCE
from gradret.training.batches import Groups
from gradret.training.matryoshka import Matryoshka, note_dimensions, prefix, prefix_weights
from gradret.training.objective import Objective, lists
from gradret.training.step import Texts, backward
from gradret.training.tokens import Tokens, write_tokens

from . import students

QUERIES, DOCS = students.sentences(9, 1), students.sentences(9, 2)
FULL = {"static": 12, "transformer": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matryoshka")
    students.make_models(folder)
    return folder


def one_positive_each(folder, family):
    """A batch of nine queries, each with its own document; the tokens of all."""
    model = students.student(folder, family)
    tokens = {}
    for name, written in (("queries", QUERIES), ("docs", DOCS)):
        write_tokens(folder / f"{family}-{name}", written, model.tokenize, name)
        tokens[name] = Tokens(folder / f"{family}-{name}")
    ids = [f"d{number}" for number in range(9)]
    made = [
        {
            "query_id": f"q{number}",
            "split": "train",
            "source_doc_id": ids[number],
            "kind": None,
            "doc_ids": [ids[number]],
            "grades": [1.0],
            "scores": [None],
            "positives": [True],
            "relevant_doc_ids": [],
        }
        for number in range(9)
    ]
    groups = Groups(students.table(made), pa.array(ids), 1, 0)
    return groups.batch(np.arange(9), 0), Texts(tokens["queries"], tokens["docs"], chunk_size=4)


@pytest.mark.parametrize("family", students.FAMILIES)
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.25, 3.0, 1.5)])
def test_loss_and_gradient_equal_sentence_transformers(folder, family, weights):
    dimensions = (2, 5, FULL[family])
    theirs = SentenceTransformer(str(folder / family), device="cpu").double()
    theirs.eval()
    loss = MatryoshkaLoss(theirs, MultipleNegativesRankingLoss(theirs, scale=20.0), dimensions, weights)
    want = loss([theirs.preprocess(QUERIES), theirs.preprocess(DOCS)], None)
    want.backward()

    mine = students.student(folder, family)
    whole = Objective([InfoNCE(temperature=0.05)]).double()
    nested = Matryoshka(whole, dict(zip(dimensions, weights, strict=True)), normalize=True)
    batch, texts = one_positive_each(folder, family)
    assert backward(mine, nested, [batch], texts) == pytest.approx(want.item(), rel=1e-9)
    pairs = list(zip(mine.parameters(), theirs.parameters(), strict=True))
    assert any(other.grad is not None and other.grad.abs().max() > 1e-3 for _, other in pairs)
    for own, other in pairs:
        if other.grad is not None:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", students.LOSSES)
def test_every_loss_sees_scores_of_the_prefixes(folder, name):
    """Inner products where the student's similarity is that, cosines where it is cosine."""
    groups, _ = students.training_set(folder, "static")
    batch = next(groups.epoch(0, 11))
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(batch.docs_N) + len(batch.queries_Q), 6, generator=draw, dtype=torch.float64)
    whole = students.objective(name)
    for normalize in (False, True):
        want = 0.0
        for size, weight in ((2, 0.5), (4, 2.0)):
            given = lists(batch, vectors)
            part = vectors[:, :size]
            part = part / part.square().sum(1, keepdim=True).sqrt() if normalize else part
            given.scores_QN = part[len(batch.docs_N) :] @ part[: len(batch.docs_N)].T
            total, count = whole.losses[0](given)
            want += weight * whole.weights[0] * (total / count).item()
        got = Matryoshka(whole, {2: 0.5, 4: 2.0}, normalize=normalize)(batch, vectors)
        assert got.item() == pytest.approx(want, rel=1e-9)


def test_a_prefix_of_zeros_keeps_a_small_gradient():
    vectors = torch.tensor([[0.0, 0.0, 1.0], [3.0, 4.0, 0.0]], requires_grad=True)
    cut = prefix(vectors, 2, normalize=True)
    torch.testing.assert_close(cut, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    cut.sum().backward()
    assert vectors.grad.abs().max() <= 1


def test_the_students_own_dimension_is_always_trained():
    assert prefix_weights(Train(dimensions=(2, 4)), 8) == {2: 1, 4: 1, 8: 1}
    assert prefix_weights(Train(dimensions=(2, 8), dimension_weights=(0.5, 3.0)), 8) == {2: 0.5, 8: 3}


@pytest.mark.parametrize(
    "keys",
    [{"dimensions": (4, 2)}, {"dimensions": (0, 2)}, {"dimension_weights": (1.0,)}]
    + [{"dimensions": (2, 4), "dimension_weights": weights} for weights in ((1.0,), (1.0, 0.0))],
)
def test_dimensions_that_mean_nothing_are_refused(keys):
    with pytest.raises(ConfigError, match=r"train\.dimension|dimension"):
        Train(**keys)


def test_more_dimensions_than_the_student_has_are_refused():
    Train(dimensions=(2, 8)).check_dimensions(8)
    Train(dimensions=(2, 8)).check_dimensions(None)
    with pytest.raises(ConfigError, match="at most 8, the dimension of the student's vectors, got 9"):
        Train(dimensions=(2, 9)).check_dimensions(8)


def test_the_model_says_where_it_can_be_cut(folder):
    saved = folder / "static" / "config_sentence_transformers.json"
    before = json.loads(saved.read_text())
    assert note_dimensions(folder / "static", Train(), 12) == {}
    assert json.loads(saved.read_text()) == before
    noted = note_dimensions(folder / "static", Train(dimensions=(2, 5)), 12)
    assert noted == {"dimensions": [2, 5, 12], "normalize": True}
    assert json.loads(saved.read_text()) == before | {"matryoshka_dimensions": [2, 5, 12]}
    model = SentenceTransformer(str(folder / "static"), truncate_dim=5, device="cpu")
    assert model.encode(["w1 w2"], normalize_embeddings=True).shape == (1, 5)
    assert SentenceTransformer(str(folder / "static"), device="cpu").encode(["w1"]).shape == (1, 12)
