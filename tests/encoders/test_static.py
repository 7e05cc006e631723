import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding
from torch.nn import functional

from gradret.encoders.static import Static, _is_word
from gradret.errors import ConfigError

from ..stages import tiny

TEXTS = ["bal dim", "", "kun kun kun gor", "never seen", " ".join(tiny.WORDS * 9)]


@pytest.fixture
def folder(tmp_path):
    return tiny.model(tmp_path, "static").path / "model"


def tokens_of(student):
    tokens = student.tokenize(TEXTS, "docs")
    return np.concatenate(tokens), np.cumsum([0, *map(len, tokens)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_student_gives_the_vectors_of_its_folder_and_the_gradient_of_an_embedding_bag(folder, dtype):
    student = Static().student(folder).to(dtype)
    given = tokens_of(student)
    want = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    for ids in (given[0], np.unique(given[0])):
        np.testing.assert_allclose(student(*given).detach(), want, atol=1e-5)
        student.restrict(np.unique(ids))
    (weight,) = student.parameters()
    assert len(weight) == len(np.unique(given[0])) < len(tiny.WORDS) + 4
    vectors = student(*given)
    assert vectors.dtype == weight.dtype == dtype
    aim = torch.randn_like(vectors)
    (gradient,) = torch.autograd.grad((vectors * aim).sum(), weight)
    plain = weight.detach().clone().requires_grad_()
    places = np.searchsorted(np.unique(given[0]), given[0])
    bags = functional.embedding_bag(torch.tensor(places), plain, torch.tensor(given[1][:-1]), mode="mean")
    (slope,) = torch.autograd.grad((functional.normalize(bags, dim=1) * aim).sum(), plain)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("restricted", [False, True])
def test_a_student_saves_what_it_learned(folder, tmp_path, restricted):
    student = Static().student(folder)
    given = tokens_of(student)
    if restricted:
        student.restrict(np.unique(given[0]))
    (weight,) = student.parameters()
    with torch.no_grad():
        weight.add_(torch.randn_like(weight))
    student.save(tmp_path / "saved")
    before, saved = (SentenceTransformer(str(path), device="cpu") for path in (folder, tmp_path / "saved"))
    np.testing.assert_allclose(saved.encode(TEXTS), student(*given).detach(), atol=1e-5)
    unused = np.setdiff1d(np.arange(len(tiny.WORDS) + 4), given[0])
    assert len(unused)
    rows = [model[0].embedding.weight.detach()[unused] for model in (before, saved)]
    assert torch.equal(*rows) == restricted


def test_nothing_is_left_to_chance_and_nothing_is_cut(folder):
    student = Static().student(folder)
    given = tokens_of(student)
    student.train(True)
    assert student.dropout == 0
    assert torch.equal(student(*given), student(*given))
    assert len(student.tokenize([" ".join(tiny.WORDS * 99)], "queries")[0]) == 99 * len(tiny.WORDS)
    assert min(student.lengths.values()) > 10**9
    assert student.dimension == student(*given).shape[1]


def saved(folder, **settings):
    """A static sentence-transformers model without a normalisation."""
    torch.manual_seed(0)
    tokenizer = SentenceTransformer(str(tiny.model(folder, "static").path / "model"), device="cpu").tokenizer
    modules = [StaticEmbedding(tokenizer, embedding_dim=12)]
    model = SentenceTransformer(modules=modules, device="cpu", **settings)
    model.save(str(folder / "source"), create_model_card=False)
    return model


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_static_model_keeps_its_similarity_and_prompts_in_training_too(tmp_path, similarity):
    given = saved(tmp_path, similarity_fn_name=similarity, prompts={"query": "kun kun ", "passage": "gor "})
    (tmp_path / "built").mkdir()
    Static(model=str(tmp_path / "source")).build(None, None, tmp_path / "built")
    texts = ["bal dim", "lin kun bal"]
    want = {"docs": given.encode([f"gor {text}" for text in texts], prompt="")}
    want["queries"] = given.encode([f"kun kun {text}" for text in texts], prompt="")
    if similarity == "cosine":
        want = {table: rows / np.linalg.norm(rows, axis=1, keepdims=True) for table, rows in want.items()}
    model, student = SentenceTransformer(str(tmp_path / "built"), device="cpu"), Static().student(tmp_path / "built")
    for table, encode in {"docs": model.encode_document, "queries": model.encode_query}.items():
        np.testing.assert_allclose(encode(texts), want[table], atol=1e-6)
        tokens = student.tokenize(texts, table)
        trained = student(np.concatenate(tokens), np.cumsum([0, *map(len, tokens)])).detach()
        np.testing.assert_allclose(trained, want[table], atol=1e-6)


def test_a_static_model_with_another_similarity_or_other_layers_is_refused(tmp_path):
    saved(tmp_path, similarity_fn_name="euclidean")
    with pytest.raises(ConfigError, match=f"{tmp_path / 'source'} has similarity euclidean"):
        Static(model=str(tmp_path / "source")).build(None, None, tmp_path)
    model = SentenceTransformer(modules=[saved(tmp_path)[0], Dense(12, 4)], device="cpu")
    model.save(str(tmp_path / "source"), create_model_card=False)
    with pytest.raises(ConfigError, match=f"{tmp_path / 'source'} is StaticEmbedding, Dense; expected"):
        Static(model=str(tmp_path / "source")).build(None, None, tmp_path)


def test_a_static_model_that_was_trained_is_taken_as_it_is(folder, tmp_path):
    (tmp_path / "model").mkdir()
    notes = Static(model=str(folder)).build(None, None, tmp_path / "model")
    assert notes == {"dimension": 12}
    want, got = (SentenceTransformer(str(path), device="cpu").encode(TEXTS) for path in (folder, tmp_path / "model"))
    np.testing.assert_array_equal(got, want)


def test_vowel_signs_are_words_and_punctuation_is_none():
    assert all(map(_is_word, ["##ा", "\u0bbf", "a", "##9", "_", "水", "२"]))
    assert not any(map(_is_word, ["##", "-", "।", "。", "[", ""]))
