import dataclasses
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers import SentenceTransformer

from gradret.config.resources import EncodeResources
from gradret.config.run import Encode
from gradret.encoders.transformer import Transformer
from gradret.errors import StageError
from gradret.models.inference import BATCH_TOKENS, pack
from gradret.models.locate import open_model
from gradret.search.vectors import read_vectors
from gradret.stages import encode as encoding
from gradret.stages.base import base
from gradret.stages.encode import encode, encode_texts, load_model
from gradret.store.artifacts import make
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


@pytest.mark.parametrize("trusted", [True, False])
def test_code_of_a_model_is_trusted_where_its_encoder_says_so(world, tmp_path, monkeypatch, trusted):
    """Whoever's encoder it is: the student's, a teacher's, a retriever's."""
    asked = []
    config, ingested, models = world
    config = dataclasses.replace(config, storage_path=str(tmp_path))
    encoder = Transformer(
        str(models["transformer"].path / "model"), query_length=8, document_length=8, trust_remote_code=trusted
    )
    model = base(config, ingested, encoder)
    monkeypatch.setattr(
        "gradret.stages.encode.open_model", lambda *_, **options: asked.append(options) or torch.nn.Module()
    )
    monkeypatch.setattr("gradret.stages.encode.map_shards", lambda draft, shards, load, **_: load())
    encode(config, model, ingested, "docs")
    assert [options["trust_remote_code"] for options in asked] == [trusted]


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
    model = open_model(tiny.model(tmp_path, "static").path / "model")
    model[0].embedding.weight.data[model.tokenizer.token_to_id("bal")] = np.nan
    broken = _saved(tmp_path, model)
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(0, "dim"), tiny.doc(1, "dim bal")]]})
    with pytest.raises(StageError, match="not finite for docs 'd001'"):
        encode(config, broken, ingested, "docs")


def _saved(storage, model):
    """MODEL of a model."""

    def _body(draft):
        model.save(str(draft.folder("model")), create_model_card=False)

    return make("base", str(storage), module=tiny.__name__, settings={"changed": True}, inputs={}, body=_body)


def _two_layers(folder, kind, pooling, *, side="right", more=(), **options):
    """A sentence-transformers folder over tiny transformers; documents have a prompt, queries another."""
    from sentence_transformers.sentence_transformer.modules import Pooling
    from sentence_transformers.sentence_transformer.modules import Transformer as Tokens

    torch.manual_seed(2)
    layer = Tokens(str(tiny.plain(folder / "plain", kind)), max_seq_length=24)
    layer.tokenizer.padding_side = side
    if layer.tokenizer.pad_token is None:
        layer.tokenizer.pad_token = layer.tokenizer.eos_token
    modules = [layer, Pooling(16, pooling, include_prompt=options.pop("include_prompt", True)), *more]
    prompts = {"query": "kun: ", "document": "bal dim "}
    return SentenceTransformer(modules=modules, prompts=prompts, device="cpu", **options)


def _texts(count=30):
    draw = random.Random(1)
    return [tiny.sentence(draw, draw.randint(1, 40)) for _ in range(count)]


def _as_sentence_transformers(model, texts, table):
    encode = model.encode_query if table == "queries" else model.encode_document
    return np.stack([encode([text], convert_to_numpy=True)[0] for text in texts]).astype(np.float32)


@pytest.mark.parametrize("table", ["docs", "queries"])
@pytest.mark.parametrize(
    ("kind", "pooling", "side", "options"),
    [
        ("bert", "mean", "right", {}),
        ("bert", "mean", "right", {"include_prompt": False}),
        ("bert", "cls", "right", {}),
        ("bert", "max", "right", {"truncate_dim": 5}),
        ("modernbert", "mean", "right", {}),
        ("roberta", "weightedmean", "right", {}),
        ("decoder", "lasttoken", "left", {}),
        ("decoder", "lasttoken", "right", {}),
        ("decoder", "mean", "left", {"default_prompt_name": "query"}),
    ],
)
def test_batches_of_any_transformer(tmp_path, monkeypatch, kind, pooling, side, options, table):
    """Many small batches, texts cut at the length among them, against one text at a time."""
    monkeypatch.setitem(BATCH_TOKENS, "cpu", 96)
    model = _two_layers(tmp_path, kind, pooling, side=side, **options)
    texts = _texts()
    want = _as_sentence_transformers(model, texts, table)
    pack(model)
    got = encode_texts(model, texts, table, threads=2)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=1e-6)
    other = {"docs": "queries", "queries": "docs"}[table]
    assert np.abs(got[:3] - _as_sentence_transformers(model, texts[:3], other)).max() > 1e-3 or options


def test_modules_behind_the_pooling(tmp_path):
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    model = _two_layers(tmp_path, "bert", "mean", more=[Dense(16, 6), Normalize()])
    want = _as_sentence_transformers(model, _texts(), "docs")
    pack(model)
    np.testing.assert_allclose(encode_texts(model, _texts(), "docs"), want, atol=1e-6)


@pytest.mark.parametrize("table", ["docs", "queries"])
def test_a_model_of_two_towers(tmp_path, table):
    """Queries by a static encoder, whose input is of another form, documents by a transformer."""
    from sentence_transformers.sentence_transformer.modules import Router

    folder = tiny.model(tmp_path, "static").path / "model"
    towers = {"query_modules": list(SentenceTransformer(str(folder), device="cpu"))[:1]}
    towers["document_modules"] = list(_two_layers(tmp_path, "bert", "mean"))
    model = SentenceTransformer(modules=[Router.for_query_document(**towers)], device="cpu")
    want = _as_sentence_transformers(model, _texts(), table)
    pack(model)
    np.testing.assert_allclose(encode_texts(model, _texts(), table), want, atol=1e-6)


def test_input_that_is_not_cut_is_left_to_sentence_transformers(tmp_path):
    from sentence_transformers.sentence_transformer.modules import BoW

    model = SentenceTransformer(modules=[BoW(list(tiny.WORDS))], device="cpu")
    texts = _texts()
    np.testing.assert_array_equal(encode_texts(model, texts, "docs"), model.encode_document(texts))
    assert encode_texts(model, [], "docs").shape == (0, len(tiny.WORDS))


@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_the_same_bytes_whatever_the_threads(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(BATCH_TOKENS, "cpu", 64)
    model = load_model(tiny.model(tmp_path, kind).path / "model")
    texts = _texts()
    first = encode_texts(model, texts, "docs", threads=1)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(encode_texts(model, texts, "docs", threads=threads), first)


def test_empty_and_endless_texts(tmp_path):
    for kind in ("static", "transformer"):
        folder = tiny.model(tmp_path, kind).path / "model"
        model = load_model(folder)
        texts = ["", " ", "bal " * 100_000, "bal", ""]
        want = _as_sentence_transformers(open_model(folder), texts, "docs")
        np.testing.assert_allclose(encode_texts(model, texts, "docs"), want, atol=1e-6)
        np.testing.assert_allclose(encode_texts(model, ["", ""], "docs"), want[[0, 4]], atol=1e-6)
        assert encode_texts(model, [], "docs").shape == (0, want.shape[1])


def test_texts_without_a_token(tmp_path):
    """The decoder's tokenizer adds none: alone, such a text leaves nothing to pad to."""
    model = _two_layers(tmp_path, "decoder", "mean")
    model.prompts = {"query": "", "document": ""}
    assert encode_texts(model, ["", ""], "docs").shape == (2, 16)
    vectors = encode_texts(model, ["bal", "", "dim kun"], "docs")
    want = _as_sentence_transformers(model, ["bal", "dim kun"], "docs")
    np.testing.assert_allclose(vectors[[0, 2]], want, atol=1e-6)


def test_vectors_in_half_precision(world):
    config, ingested, models = world
    whole = encode(config, models["transformer"], ingested, "docs")
    small = dataclasses.replace(config, encode=Encode(precision="float16"))
    half = encode(small, models["transformer"], ingested, "docs")
    assert half.fingerprint != whole.fingerprint
    stored = pq.read_schema(half.shards("vectors")[0]).field("vector").type.value_type
    assert stored == pa.float16()
    ids, matrix = read_vectors(half)
    want_ids, want = read_vectors(whole)
    assert ids == want_ids
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, want.astype(np.float16).astype(np.float32))


def test_a_vector_that_half_precision_cannot_hold_names_its_text(world, tmp_path):
    config, _, _ = world
    config = dataclasses.replace(config, storage_path=str(tmp_path), encode=Encode(precision="float16"))
    model = open_model(tiny.model(tmp_path, "static").path / "model")
    del model[1]  # the normalisation
    model[0].embedding.weight.data[model.tokenizer.token_to_id("bal")] = 1e5
    large = _saved(tmp_path, model)
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": [[tiny.doc(0, "dim"), tiny.doc(1, "bal")]]})
    with pytest.raises(StageError, match=r"too large for encode.precision=float16 for docs 'd001'"):
        encode(config, large, ingested, "docs")


def test_bfloat16_is_computed_in_every_lane(world):
    """Autocast is a state of the thread."""
    _, _, models = world
    model = load_model(models["transformer"].path / "model")
    texts = [tiny.sentence(random.Random(number), 8) for number in range(2000)]
    full, half = (encode_texts(model, texts, "docs", 2, kind) for kind in ("float32", "bfloat16"))
    with torch.autocast("cpu", torch.bfloat16):
        want = model.encode_document(texts, convert_to_numpy=True)
    np.testing.assert_allclose(half, want, atol=0.02)
    assert (np.abs(half - full).max(axis=1) > 2e-6).all()  # float32 alone: 2e-7


def test_workers_with_gpus_compute_in_bfloat16():
    assert Encode().computed_in == "float32"
    assert Encode(resources=EncodeResources(gpus=1)).computed_in == "bfloat16"
    assert Encode(compute="float32", resources=EncodeResources(gpus=1)).computed_in == "float32"


def test_shards_are_cut_into_pieces(world, tmp_path, monkeypatch):
    """A piece is what a killed run loses. Pieces of one size are a matter of the model, so a rerun finds them."""
    config, ingested, models = world
    whole = encode(config, models["transformer"], ingested, "docs")
    assert len(whole.shards("vectors")) == len(ingested.shards("docs")) == 2
    monkeypatch.setattr(encoding, "_MIN_PIECE", 8)
    monkeypatch.setattr(encoding, "_PIECE_WORK", 0)
    config = dataclasses.replace(config, storage_path=str(tmp_path))
    cut = encode(config, models["transformer"], ingested, "docs")
    assert [len(rows) for rows in cut.batches("vectors")] == [7, 7, 7, 7, 7, 6, 6, 6, 7]
    assert cut.counts == whole.counts
    (ids, got), (want_ids, want) = read_vectors(cut), read_vectors(whole)
    assert ids == want_ids
    np.testing.assert_allclose(got, want, atol=1e-6)
