import dataclasses

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from gradret.config import Label, Train
from gradret.dense.vectors import read_vectors
from gradret.encoders.transformer import Transformer
from gradret.errors import StageError
from gradret.losses.kl import KL
from gradret.stages.base import base
from gradret.stages.encode import encode, encode_texts, load_model
from gradret.teachers.fusion import Fusion
from gradret.text import passage

from . import tiny


@pytest.mark.parametrize("kind", ["static", "transformer"])
@pytest.mark.parametrize("table", ["docs", "queries"])
def test_vectors_are_what_sentence_transformers_gives(world, kind, table):
    """Text by text, an empty and a very long one among them."""
    config, ingested, models = world
    vectors = encode(config, models[kind], ingested, table)
    ids, matrix = read_vectors(vectors)
    rows = ingested.table(table).to_pylist()
    assert ids == [row["doc_id" if table == "docs" else "query_id"] for row in rows]
    texts = [passage(row.get("title"), row["text"]) for row in rows]
    model = SentenceTransformer(str(models[kind].path / "model"), device="cpu")
    want = np.stack([model.encode([text], convert_to_numpy=True)[0] for text in texts])
    np.testing.assert_allclose(matrix, want, atol=1e-5)
    assert matrix.dtype == np.float32
    assert vectors.counts["rows_in"] == vectors.counts["rows_out"] == len(rows)
    if table == "docs":
        assert "" in texts
        assert max(map(len, texts)) > 10_000
        assert matrix.any(axis=1).sum() == len(rows) - (kind == "static")


def test_queries_and_documents_have_their_own_prompts_and_lengths(world, tmp_path):
    """The vectors are those of the words that the lengths leave, prompt first, read by the bare model."""
    config, ingested, models = world
    words = " ".join(tiny.WORDS)
    docs, queries = [tiny.doc(0, "bal dim"), tiny.doc(1, words)], [tiny.query(0, "kun"), tiny.query(1, words)]
    texts = tiny.artifact(tmp_path, "ingest", {"docs": [docs], "queries": [queries]})
    source = models["transformer"].path / "model"
    fields = {"query_prompt": "lin ", "document_prompt": "gor gor ", "query_length": 5, "document_length": 7}
    model = base(config, ingested, Transformer(model=str(source), **fields))
    plain = SentenceTransformer(str(source), device="cpu")
    read = {"docs": ["gor gor bal dim", "gor gor " + " ".join(tiny.WORDS[:3])]}
    read["queries"] = ["lin kun", "lin " + " ".join(tiny.WORDS[:2])]
    for table, expected in read.items():
        _, matrix = read_vectors(encode(config, model, texts, table))
        np.testing.assert_allclose(matrix, plain.encode(expected), atol=1e-5)
        np.testing.assert_allclose(encode_texts(plain, expected, table), plain.encode(expected), atol=1e-5)


@pytest.mark.parametrize("place", ["student", "teacher", "nowhere"])
def test_code_of_a_model_is_trusted_where_an_encoder_says_so(world, tmp_path, monkeypatch, place):
    asked = []
    monkeypatch.setattr(
        "gradret.stages.encode.open_model", lambda *_, **options: asked.append(options) or torch.nn.Module()
    )
    monkeypatch.setattr("gradret.stages.encode.map_shards", lambda draft, shards, load, **_: load())
    config, ingested, models = world
    encoder = Transformer(trust_remote_code=place != "nowhere")
    config = dataclasses.replace(config, storage_path=str(tmp_path))
    if place == "teacher":
        config = dataclasses.replace(config, label=Label(teacher=Fusion(encoder=encoder)))
    else:
        config = dataclasses.replace(config, train=Train(encoder=encoder, loss=(KL(),)))
    encode(config, models["transformer"], ingested, "docs")
    assert [options["trust_remote_code"] for options in asked] == [place != "nowhere"]


def test_a_shard_may_be_empty(world):
    config, _, models = world
    storage = config.storage_path
    ingested = tiny.artifact(storage, "ingest", {"docs": [[], [tiny.doc(0, "bal")]]})
    ids, matrix = read_vectors(encode(config, models["static"], ingested, "docs"))
    assert ids == ["d000"]
    assert matrix.shape == (1, 12)


def test_a_vector_that_is_not_finite_names_its_text(world, tmp_path):
    config, _, _ = world
    config = dataclasses.replace(config, storage_path=str(tmp_path))
    broken = tiny.model(tmp_path, "static")
    model = load_model(broken.path / "model")
    model[0].embedding.weight.data[model.tokenizer.token_to_id("bal")] = np.nan
    model.save(str(broken.path / "model"), create_model_card=False)
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(0, "dim"), tiny.doc(1, "dim bal")]]})
    with pytest.raises(StageError, match="not finite for docs 'd001'"):
        encode(config, broken, ingested, "docs")
