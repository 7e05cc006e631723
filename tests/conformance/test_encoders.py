"""Laws for every encoder.

For a class of another package: GRADRET_ENCODERS="package.module:Class" pytest tests/conformance/test_encoders.py
"""

import functools
import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from gradret import components
from gradret.stages.encode import encode_texts, load_model
from gradret.store.fingerprint import canonical

from ..stages import tiny
from .made import outside

TEXTS = ["bal dim", "kun gor fil", "", "bal", "never seen", " ".join(tiny.WORDS * 30), " ".join(tiny.WORDS[:9])]
TABLES = ("docs", "queries")
NODES = {
    "pretrained": lambda models: {"model": str(models["bert"]), "precision": "float32"},
    "pretrained-cut": lambda models: {"model": str(models["bert"]), "precision": "float32", "max_length": 5},
    "static": lambda models: {"lexical": 32, "min_docs": 3},
    "static-trained": lambda models: {"model": str(models["static"])},
    "transformer": lambda models: {"model": str(models["bert"]), "query_length": 12, "document_length": 14},
    "transformer-prompts": lambda models: {
        "model": str(models["modernbert"]),
        "query_length": 12,
        "document_length": 14,
        "query_prompt": "lin ",
        "document_prompt": "gor gor ",
        "pooling": "cls",
    },
    "transformer-decoder": lambda models: {"model": str(models["decoder"]), "query_length": 12, "document_length": 14},
    "transformer-lora": lambda models: {
        "model": str(models["decoder"]),
        "query_length": 12,
        "document_length": 14,
        "lora_rank": 2,
        "precision": "bfloat16",
    },
}
OUTSIDE = {node["name"]: node for node in outside("encoders")}


@functools.cache
def models(folder):
    torch.manual_seed(0)
    kinds = {kind: tiny.plain(folder / kind, kind) for kind in ("modernbert", "decoder")}
    own = {"bert": tiny.model(folder, "transformer"), "static": tiny.model(folder, "static")}
    return kinds | {name: made.path / "model" for name, made in own.items()}


class Built:
    """An encoder, its folder, and the vectors of ``TEXTS``."""

    def __init__(self, collection, name, folder):
        node = OUTSIDE.get(name) or {"name": name.partition("-")[0]} | NODES[name](models(folder / "models"))
        self.config, self.encoder = collection.config("encoders", node), collection.component("encoders", node)
        self.folder, self.collection = folder / name.replace(":", "-"), collection
        self.notes = self.build(self.folder)
        self.model = load_model(self.folder, trust_remote_code=self.encoder.trust_remote_code)
        self.vectors = {table: encode_texts(self.model, TEXTS, table) for table in TABLES}

    def build(self, folder):
        folder.mkdir()
        ingested = self.collection.ingested if self.encoder.reads_docs else None
        return self.encoder.build(self.config, ingested, folder)

    def student(self):
        torch.manual_seed(0)
        return self.encoder.as_saved().student(self.folder)


@pytest.fixture(scope="module", params=[*NODES, *OUTSIDE])
def built(request, collection, tmp_path_factory):
    return Built(collection, request.param, tmp_path_factory.mktemp("encoders"))


@pytest.fixture(params=TABLES)
def table(request):
    return request.param


def same(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def opened(built):
    """The model as sentence-transformers opens it."""
    trusted = built.encoder.trust_remote_code
    return SentenceTransformer(str(built.folder), device="cpu", trust_remote_code=trusted)


def given(student, texts, table):
    tokens = student.tokenize(texts, table)
    return np.concatenate(tokens), np.cumsum([0, *map(len, tokens)])


def test_every_encoder_is_here():
    assert {name.partition("-")[0] for name in NODES} == set(components.names("encoders"))


def test_what_it_declares(built):
    cls = type(built.encoder)
    assert isinstance(cls.reads_docs, bool)
    assert isinstance(cls.trainable, bool)
    assert isinstance(built.encoder.model, str)
    assert built.encoder.trust_remote_code in (True, False)
    assert 0 <= built.encoder.dropout < 1
    assert canonical(built.encoder.reads(built.config)) == canonical(built.encoder.reads(built.config))
    json.dumps(built.notes)


def test_vectors_are_float32_of_one_dimension(built, table):
    vectors = built.vectors[table]
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), opened(built).get_embedding_dimension())
    assert built.notes.get("dimension", vectors.shape[1]) == vectors.shape[1]
    assert np.isfinite(vectors).all()
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4


def test_a_vector_is_its_texts_own(built, table):
    """Whatever is encoded with it, in whatever order."""
    same(encode_texts(built.model, TEXTS[::-1], table)[::-1], built.vectors[table])
    for text, vector in zip(TEXTS, built.vectors[table], strict=True):
        same(encode_texts(built.model, [text], table), [vector])
    assert encode_texts(built.model, [], table).shape == (0, built.vectors[table].shape[1])


def test_sentence_transformers_gives_the_same(built, table):
    model = opened(built).float()
    encode = model.encode_query if table == "queries" else model.encode_document
    same(encode(TEXTS), built.vectors[table])


def test_saved_and_loaded_it_gives_the_same(built, table, tmp_path):
    opened(built).save(str(tmp_path / "again"), create_model_card=False)
    again = load_model(tmp_path / "again", trust_remote_code=built.encoder.trust_remote_code)
    np.testing.assert_array_equal(encode_texts(again, TEXTS, table), built.vectors[table])


def test_built_again_it_is_the_same(built, tmp_path):
    assert built.build(tmp_path / "again") == built.notes
    files = [path.relative_to(built.folder) for path in built.folder.rglob("*.safetensors")]
    assert files
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (built.folder / file).read_bytes()


def test_a_student_gives_the_vectors_of_the_folder(built, table):
    if built.encoder.trainable:
        student = built.student()
        assert student.dimension == built.vectors[table].shape[1]
        same(student(*given(student, TEXTS, table)).detach(), built.vectors[table])
        assert max(map(len, student.tokenize(TEXTS, table))) <= student.lengths[table]


def test_a_student_learns_and_saves_what_it_learned(built, table, tmp_path):
    if built.encoder.trainable:
        student = built.student()
        tokens = given(student, TEXTS, table)
        student.restrict(np.unique(tokens[0]))
        parameters = list(student.parameters())
        torch.manual_seed(0)
        vectors = student(*tokens)
        gradients = torch.autograd.grad((vectors * torch.randn_like(vectors)).sum(), parameters, allow_unused=True)
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(torch.randn_like(parameter) / 10)
        student.save(tmp_path / "trained")
        trained = load_model(tmp_path / "trained", trust_remote_code=built.encoder.trust_remote_code)
        vectors = encode_texts(trained, TEXTS, table)
        same(student(*tokens).detach(), vectors)
        assert np.abs(vectors - built.vectors[table]).max() > 1e-3
