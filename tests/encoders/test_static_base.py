"""Static encoders from transformers of every kind, compared with the checkpoint's numbers."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import BoW, Pooling, Transformer
from transformers import AutoModel

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.encoders.static import Static
from gradret.errors import ConfigError

from ..stages import tiny
from .bases import TEXTS, WEIGHT, base

KINDS = list(WEIGHT)


@pytest.fixture(scope="module")
def built(tmp_path_factory, ray_session):
    """Builds the model that a static encoder makes of a folder; each tokenizer counts the corpus, two shards, once."""
    storage = tmp_path_factory.mktemp("storage")
    docs = [tiny.doc(number, text) for number, text in enumerate(TEXTS)]
    ingested = tiny.artifact(storage, "ingest", {"docs": [docs[:2], docs[2:]]}, rows_out=len(docs))
    config = Config("toy", Pydocs(), str(storage))

    def build(source, folder, **fields):
        folder.mkdir()
        Static(model=str(source), **({"lexical": 0} | fields)).build(config, ingested, folder)
        return SentenceTransformer(str(folder), device="cpu")

    return build


def directions(model):
    """The tokens' vectors scaled to length 1."""
    rows = model[0].embedding.weight.detach().numpy().astype(np.float64)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-30)


def check(model, source, kind):
    """The tokens' vectors are the checkpoint's rows, centred and scaled to length 1; others are 0."""
    rows = load_file(source / "model.safetensors")[WEIGHT[kind]].astype(np.float64)[: len(model[0].embedding.weight)]
    rows -= rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(directions(model)[: len(rows)], rows, atol=1e-5)
    assert not directions(model)[len(rows) :].any()


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_transformer_and_rows_behind_its_vocabulary(built, tmp_path, kind, padding):
    source = base(tmp_path / "source", kind, padding)
    model = built(source, tmp_path / "built")
    vocabulary = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(load_file(source / "model.safetensors")[WEIGHT[kind]]) == len(vocabulary) + padding
    # transformers knows of a token that Qwen2 has beside the vocabulary.
    assert len(model[0].embedding.weight) == len(vocabulary) + (kind == "bytes")
    check(model, source, kind)
    assert np.isfinite(model.encode(TEXTS)).all()


@pytest.mark.parametrize("form", ["shards", "bfloat16", "sentence-transformers", "subfolder", "vocab.txt"])
def test_every_form_of_checkpoint(built, tmp_path, form):
    source = given = base(tmp_path / "source", "wordpiece")
    if form == "shards":
        given = shutil.copytree(source, tmp_path / "given")
        (given / "model.safetensors").unlink()
        AutoModel.from_pretrained(source).save_pretrained(given, max_shard_size="2KB")
        assert len(list(given.glob("*.safetensors"))) > 1
    if form == "bfloat16":
        AutoModel.from_pretrained(source).bfloat16().save_pretrained(source)
        AutoModel.from_pretrained(source).float().save_pretrained(tmp_path / "same")
    if form in ("sentence-transformers", "subfolder"):
        given = tmp_path / "given"
        SentenceTransformer(modules=[Transformer(str(source)), Pooling(8)], device="cpu").save(str(given))
    if form == "subfolder":
        shutil.move(given, tmp_path / "0_Transformer")
        given.mkdir()
        modules = json.loads((tmp_path / "0_Transformer" / "modules.json").read_text())
        (given / "modules.json").write_text(json.dumps([modules[0] | {"path": "0_Transformer"}, modules[1]]))
        shutil.move(tmp_path / "0_Transformer", given)
    if form == "vocab.txt":
        ids = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
        (source / "vocab.txt").write_text("\n".join(sorted(ids, key=ids.get)))
        (source / "tokenizer.json").unlink()
        (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    model = built(given, tmp_path / "built")
    check(model, tmp_path / "same" if form == "bfloat16" else source, "wordpiece")


def token(model, word):
    """The id of a word, or a mark, that is one token in the middle of a text."""
    text = f"stone {word}" if word.isalpha() else f"stone{word}"
    ids = model.tokenizer.encode(text, add_special_tokens=False).ids
    rest = model.tokenizer.encode("stone", add_special_tokens=False).ids
    assert ids[: len(rest)] == rest
    assert len(ids) == len(rest) + 1, model.tokenizer.encode(f"stone {word}").tokens
    return ids[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_stop_words_and_punctuation_weigh_less_with_every_tokenizer(built, tmp_path, kind):
    source = base(tmp_path / "source", kind)
    model, even = (built(source, tmp_path / str(weight), stop_weight=weight) for weight in (0.25, 1.0))
    lengths = [np.linalg.norm(one[0].embedding.weight.detach().numpy(), axis=1) for one in (model, even)]
    ratio = lengths[0] / (lengths[1] + 1e-30)
    for word in ("the", "in", "."):
        np.testing.assert_allclose(ratio[token(model, word)], 0.25, rtol=1e-5, err_msg=word)
    for word in ("stone", "market"):
        np.testing.assert_allclose(ratio[token(model, word)], 1, rtol=1e-5, err_msg=word)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_a_stem_share_a_direction_with_every_tokenizer(built, tmp_path, kind):
    model = built(base(tmp_path / "source", kind), tmp_path / "built", lexical=6)
    rows = directions_of(model.tokenizer, model[0].embedding.weight.detach().numpy()[:, 8:])
    same, other = rows("walk"), rows("stone")
    for word in ("walks", "walked"):
        np.testing.assert_allclose(rows(word), same, atol=1e-5, err_msg=word)
    assert np.abs(same - other).max() > 0.1
    if kind != "wordpiece":  # lower case already
        np.testing.assert_allclose(rows("Walk"), same, atol=1e-5)


def directions_of(tokenizer, vectors):
    def of(word):
        row = vectors[token(SimpleNamespace(tokenizer=tokenizer), word)]
        return row / np.linalg.norm(row)

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_word_of_a_text_is_the_token_that_it_is_elsewhere(built, tmp_path, kind):
    model = built(base(tmp_path / "source", kind), tmp_path / "built")
    for word in ("stone", "market", "the"):
        assert model.tokenizer.encode(word, add_special_tokens=False).ids == [token(model, word)]
    assert model.tokenizer.encode("", add_special_tokens=False).ids == []


def test_a_piece_of_a_letter_is_no_punctuation(built, tmp_path):
    source = base(tmp_path / "source", "bytes")
    model, even = (built(source, tmp_path / str(weight), stop_weight=weight) for weight in (0.25, 1.0))
    ids = model.tokenizer.encode("京", add_special_tokens=False).ids
    rows = [one[0].embedding.weight.detach().numpy()[ids] for one in (model, even)]
    assert len(ids) > 2
    np.testing.assert_allclose(rows[0][1:], rows[1][1:], rtol=1e-5)


def test_an_added_token_without_an_embedding_counts_for_nothing(built, tmp_path):
    source = base(tmp_path / "source", "wordpiece")
    plan = json.loads((source / "tokenizer.json").read_text())
    new = dict(plan["added_tokens"][0], id=1 + max(plan["model"]["vocab"].values()), content="[NEW]")
    (source / "tokenizer.json").write_text(json.dumps(plan | {"added_tokens": [*plan["added_tokens"], new]}))
    model = built(source, tmp_path / "built")
    assert model.tokenizer.token_to_id("[NEW]") == new["id"] == len(model[0].embedding.weight) - 1
    with_it, without = model.encode(["stone [NEW] tower", "stone tower"])
    np.testing.assert_allclose(with_it, without, atol=1e-6)


def test_words_of_the_corpus_become_tokens_behind_all_others(built, tmp_path):
    source = base(tmp_path / "source", "wordpiece", 5)
    vocabulary = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    fewer = {piece: number for piece, number in vocabulary.items() if piece not in ("harbour", "##arbour")}
    plan = json.loads((source / "tokenizer.json").read_text())
    plan["model"]["vocab"] = fewer
    (source / "tokenizer.json").write_text(json.dumps(plan))
    model = built(source, tmp_path / "built", min_docs=1)
    assert model.tokenizer.encode("harbour", add_special_tokens=False).tokens == ["harbour"]
    pieces = SentenceTransformer(modules=[Transformer(str(source)), Pooling(8)]).tokenizer.tokenize("harbour")
    assert len(pieces) > 1
    rows = load_file(source / "model.safetensors")[WEIGHT["wordpiece"]].astype(np.float64)
    rows = rows[: 1 + max(fewer.values())]
    whole = np.concatenate([rows, [rows[[fewer[piece] for piece in pieces]].mean(axis=0)]])
    added = model.tokenizer.token_to_id("harbour")
    assert added >= len(rows)
    new = sorted((number, word) for word, number in model.tokenizer.get_vocab().items() if number >= len(rows))
    means = [rows[[fewer[p] for p in _pieces(source, word)]].mean(axis=0) for _, word in new]
    whole = np.concatenate([rows, means])
    want = whole[added] - whole.mean(axis=0)
    np.testing.assert_allclose(directions(model)[added], want / np.linalg.norm(want), atol=1e-5)


def _pieces(source, word):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source).tokenize(word)


def _without_weights(source):
    (source / "model.safetensors").unlink()


def _pickled(source):
    state = AutoModel.from_pretrained(source).state_dict()
    (source / "model.safetensors").unlink()
    torch.save(state, source / "pytorch_model.bin")


def _other_names(source):
    weights = load_file(source / "model.safetensors")
    renamed = {name.replace("word_embeddings", "words"): rows for name, rows in weights.items()}
    save_file(renamed, source / "model.safetensors", metadata={"format": "pt"})


def _not_finite(source):
    weights = load_file(source / "model.safetensors")
    weights[WEIGHT["wordpiece"]][7, 3] = np.nan
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})


def _cut(source):
    content = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(content[: len(content) // 2])


def _without_tokenizer(source):
    (source / "tokenizer.json").unlink()
    (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))


def _junk_tokenizer(source):
    (source / "tokenizer.json").write_text("{")


def _larger_vocabulary(source):
    plan = json.loads((source / "tokenizer.json").read_text())
    plan["model"]["vocab"] |= {f"new{number}": 5000 + number for number in range(3)}
    (source / "tokenizer.json").write_text(json.dumps(plan))


def _own_code(source):
    config = json.loads((source / "config.json").read_text()) | {"model_type": "mine"}
    config["auto_map"] = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}
    (source / "config.json").write_text(json.dumps(config))
    (source / "mine.py").write_text("raise AssertionError('run')")


def _unknown(source):
    (source / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))


def _bag_of_words(source):
    shutil.rmtree(source)
    SentenceTransformer(modules=[BoW(["stone", "tower"])], device="cpu").save(str(source))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_without_weights, "no file named model.safetensors"),
        (_pickled, "no file named model.safetensors"),
        (_other_names, "its weights do not contain embeddings.word_embeddings.weight"),
        (_not_finite, "numbers that are not finite"),
        (_cut, ""),
        (_without_tokenizer, "its tokenizer has no vocabulary"),
        (_junk_tokenizer, ""),
        (_larger_vocabulary, "input embeddings for [0-9]+ tokens, but its tokenizer has ids up to 5,002"),
        (_own_code, "needs its own Python code"),
        (_unknown, "no-such-model"),
        (_bag_of_words, "its first module is .*BoW; expected a Transformer"),
    ],
)
def test_a_folder_that_cannot_be_a_base_is_named(built, tmp_path, spoil, why):
    source = base(tmp_path / "source", "wordpiece")
    spoil(source)
    with pytest.raises(ConfigError, match=f"{source}.*{why}"):
        built(source, tmp_path / "built")


@pytest.mark.parametrize("kind", ["bytes", "unigram"])
def test_words_are_added_to_word_pieces_only(built, tmp_path, kind):
    source = base(tmp_path / "source", kind)
    with pytest.raises(ConfigError, match=r"min_docs: .*WordPiece.* is (BPE|Unigram); set min_docs to 0"):
        built(source, tmp_path / "built", min_docs=1)
