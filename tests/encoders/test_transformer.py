"""Vectors are checked against transformers' own model, run text by text without padding and pooled by hand."""

import json
import shutil
from functools import cache

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from sentence_transformers.sentence_transformer.modules import Transformer as Tokens
from transformers import AutoModel
from transformers.utils import logging

from gradret.encoders.transformer import Transformer
from gradret.errors import ConfigError
from gradret.stages.encode import encode_texts, load_model

from ..stages import tiny

TEXTS = ["bal dim", "kun", " ".join(tiny.WORDS), "never seen bal", "gor gor gor dim kun bal lin"]
PROMPTS = {"queries": "kun bal ", "docs": "dim "}
KINDS = ["bert", "modernbert", "decoder"]
IDS = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *tiny.WORDS])}


@pytest.fixture(scope="module", autouse=True)
def _calm():
    logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A plain transformers folder of each kind; weights large enough that all tokens of a text matter."""
    folder = tmp_path_factory.mktemp("sources")
    torch.manual_seed(0)
    found = {kind: tiny.plain(folder / kind, kind) for kind in [*KINDS, "roberta"]}
    for path in found.values():
        model = AutoModel.from_pretrained(path)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        model.save_pretrained(path)
    return found


def built(source, folder, **fields):
    """The encoder, and the folder that it built."""
    encoder = Transformer(model=str(source), **({"query_length": 6, "document_length": 10} | fields))
    encoder.build(None, None, folder)
    return encoder, folder


def vectors(student, table, texts=TEXTS):
    tokens = student.tokenize(texts, table)
    return student(np.concatenate(tokens), np.cumsum([0, *map(len, tokens)]))


def oracle(source, kind, table, pooling, normalize, prompt="", length=None):
    model = plain_model(source)
    room = length or {"queries": 6, "docs": 10}[table]
    rows = []
    for text in TEXTS:
        ids = [IDS.get(word, 1) for word in (prompt + text).split()]
        ids = ids[:room] if kind == "decoder" else [2, *ids[: room - 2], 3]
        with torch.no_grad():
            states = model(torch.tensor([ids])).last_hidden_state[0].numpy()
        row = {"cls": states[0], "last": states[-1], "mean": states.mean(axis=0)}[pooling]
        rows.append(row / np.linalg.norm(row) if normalize else row)
    return np.stack(rows)


@cache
def plain_model(source):
    return AutoModel.from_pretrained(source, attn_implementation="eager").double().eval()


@cache
def opened(folder):
    return SentenceTransformer(str(folder), device="cpu", trust_remote_code=True)


def folder_vectors(folder, table, texts=TEXTS):
    model = opened(folder)
    return (model.encode_query if table == "queries" else model.encode_document)(texts)


@pytest.mark.parametrize("prompted", [False, True], ids=["bare", "prompted"])
@pytest.mark.parametrize("normalize", [False, True], ids=["raw", "unit"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_student_folder_and_oracle_give_the_same_vectors(sources, tmp_path, kind, pooling, normalize, prompted):
    prompts = {"query_prompt": PROMPTS["queries"], "document_prompt": PROMPTS["docs"]} if prompted else {}
    encoder, folder = built(sources[kind], tmp_path, pooling=pooling, normalize=normalize, **prompts)
    student = encoder.student(folder)
    assert {student.dimension, *(vectors(student, table).shape[1] for table in PROMPTS)} == {16}
    for table, prompt in PROMPTS.items():
        want = oracle(sources[kind], kind, table, pooling, normalize, prompt if prompted else "")
        got, exact = vectors(student.float(), table), vectors(student.double(), table)
        assert (got.dtype, exact.dtype) == (torch.float32, torch.float64)
        np.testing.assert_allclose(got.detach(), want, atol=1e-5)
        np.testing.assert_allclose(folder_vectors(folder, table), want, atol=1e-5)
        # Rotary angles stay in float32.
        np.testing.assert_allclose(exact.detach(), want, atol=1e-10 if kind == "bert" else 1e-6)


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_left_padding_of_the_tokenizer_changes_nothing(tmp_path, kind, pooling):
    """Absolute positions, as of bert, are counted from the left edge, padding included."""
    source = tiny.plain(tmp_path / "source", kind, padding_side="left")
    encoder, folder = built(source, tmp_path / "built", pooling=pooling)
    want = oracle(source, kind, "docs", pooling, normalize=True)
    np.testing.assert_allclose(vectors(encoder.student(folder), "docs").detach(), want, atol=1e-5)
    np.testing.assert_allclose(folder_vectors(folder, "docs"), want, atol=1e-5)
    np.testing.assert_allclose(encode_texts(load_model(folder), TEXTS, "docs"), want, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_other_texts_of_a_chunk_change_nothing(sources, tmp_path, kind, pooling):
    encoder, folder = built(sources[kind], tmp_path, pooling=pooling)
    student = encoder.student(folder).double()
    together = vectors(student, "docs").detach()
    apart = torch.cat([vectors(student, "docs", [text]) for text in TEXTS]).detach()
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)


def test_queries_and_documents_may_be_mixed(sources, tmp_path):
    encoder, folder = built(sources["bert"], tmp_path, query_prompt="kun ")
    student = encoder.student(folder).double()
    tokens = [*student.tokenize(TEXTS, "docs"), *student.tokenize(TEXTS, "queries")]
    mixed = student(np.concatenate(tokens), np.cumsum([0, *map(len, tokens)]))
    want = torch.cat([vectors(student, "docs"), vectors(student, "queries")])
    torch.testing.assert_close(mixed, want, rtol=0, atol=1e-10)


def test_tokens_are_cut_to_the_length_of_their_kind_prompt_and_special_tokens_included(sources, tmp_path):
    encoder, folder = built(sources["bert"], tmp_path, query_prompt="kun ")
    student = encoder.student(folder)
    assert student.lengths == {"queries": 6, "docs": 10}
    words = [IDS[word] for word in tiny.WORDS]
    (query,) = student.tokenize([TEXTS[2]], "queries")
    (doc,) = student.tokenize([TEXTS[2]], "docs")
    assert query.tolist() == [2, IDS["kun"], *words[:3], 3]
    assert doc.tolist() == [2, *words[:8], 3]
    assert query.dtype == doc.dtype == np.int32
    assert student.tokenize(["bal", ""], "docs")[1].tolist() == [2, 3]
    many = student.tokenize([f"{word} bal" for word in tiny.WORDS * 20], "docs")
    assert [ids[1] for ids in many] == words * 20


def test_queries_may_be_longer_in_search_than_in_training(sources, tmp_path):
    encoder, folder = built(sources["bert"], tmp_path / "built", search_query_length=9)
    words = [IDS[word] for word in tiny.WORDS]
    student = encoder.student(folder)
    assert student.lengths == {"queries": 6, "docs": 10}
    assert student.tokenize([TEXTS[2]], "queries")[0].tolist() == [2, *words[:4], 3]
    saving = encoder.as_saved().student(folder)
    assert saving.tokenize([TEXTS[2]], "queries")[0].tolist() == [2, *words[:7], 3]
    saving.save(tmp_path / "saved")
    np.testing.assert_allclose(
        folder_vectors(tmp_path / "saved", "queries"), vectors(saving, "queries").detach(), atol=1e-5
    )


def test_a_text_without_tokens_has_a_vector(sources, tmp_path):
    encoder, folder = built(sources["decoder"], tmp_path)
    student = encoder.student(folder)
    assert [len(ids) for ids in student.tokenize(["", "bal"], "docs")] == [0, 1]
    assert not student(np.zeros(0, np.int32), np.zeros(2, np.int64)).any()


@pytest.mark.parametrize("kind", ["bert", "decoder"])
def test_bfloat16_is_close_and_comes_out_in_the_precision_of_the_weights(sources, tmp_path, kind):
    encoder, folder = built(sources[kind], tmp_path, precision="bfloat16")
    student = encoder.student(folder)
    (got := vectors(student, "docs")).sum().backward()
    want = oracle(sources[kind], kind, "docs", "mean", normalize=True)
    assert got.dtype == torch.float32
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in student.parameters() if p.grad is not None} == {torch.float32}
    assert 1e-6 < np.abs(got.detach().numpy() - want).max() < 0.05
    np.testing.assert_allclose(np.linalg.norm(got.detach(), axis=1), 1, atol=1e-6)


def test_pooling_and_normalisation_are_as_precise_as_the_weights(sources, tmp_path):
    """Also where the model's last layer gives bfloat16, as not all do."""
    encoder, folder = built(sources["bert"], tmp_path, precision="bfloat16")
    student = encoder.student(folder)
    student.model[0].register_forward_hook(
        lambda *call: {**call[2], "token_embeddings": call[2]["token_embeddings"].bfloat16()}
    )
    got = vectors(student, "docs").detach()
    assert got.dtype == torch.float32
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("fields", [{}, {"lora_rank": 2}, {"dropout": 0.3}], ids=["all", "lora", "dropout"])
@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_gives_the_same_gradients(sources, tmp_path, kind, fields):
    _, folder = built(sources[kind], tmp_path)
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(3)
        student = Transformer(gradient_checkpointing=checkpointing, **fields).student(folder).double()
        student.train(True)
        shuffle_adapters(student)
        calls = []
        for module in student.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        torch.manual_seed(4)
        (vectors(student, "docs") * torch.arange(16)).sum().backward()
        found.append(([parameter.grad for parameter in student.parameters()], len(calls)))
    (plain, once), (checkpointed, again) = found
    assert any(gradient is not None and gradient.any() for gradient in plain)
    assert again > once
    for gradient, other in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12)


def shuffle_adapters(student):
    """Adapters start at zero, where they change nothing."""
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter))


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_alone_are_trained_and_end_in_the_weights(sources, tmp_path, kind):
    encoder, folder = built(sources[kind], tmp_path / "built", lora_rank=2, lora_alpha=6)
    student = encoder.student(folder)
    np.testing.assert_allclose(vectors(student, "docs").detach(), folder_vectors(folder, "docs"), atol=1e-5)
    frozen = {name: p.clone() for name, p in student.named_parameters() if not p.requires_grad}
    trained = list(student.parameters())
    assert len(trained) == sum("lora_" in name for name, _ in student.named_parameters()) > 0
    optimizer = torch.optim.Adam(trained, lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (vectors(student, "docs") * torch.arange(16)).sum().backward()
        optimizer.step()
    parameters = dict(student.named_parameters())
    assert all(torch.equal(parameters[name], before) for name, before in frozen.items())

    before = vectors(student, "docs").detach().clone()
    assert np.abs(before.numpy() - folder_vectors(folder, "docs")).max() > 0.01
    student.save(tmp_path / "saved")
    np.testing.assert_allclose(folder_vectors(tmp_path / "saved", "docs"), before, atol=1e-5)
    torch.testing.assert_close(vectors(student, "docs"), before, rtol=0, atol=0)
    assert "lora" not in "".join(path.name for path in (tmp_path / "saved").rglob("*"))
    base = AutoModel.from_pretrained(folder).state_dict()
    merged = AutoModel.from_pretrained(tmp_path / "saved").state_dict()
    assert base.keys() == merged.keys()
    name = next(name for name in merged if name.endswith(("query.weight", "Wqkv.weight", "q_proj.weight")))
    (down,) = [p for key, p in parameters.items() if f"{name.removesuffix('.weight')}.lora_A" in key]
    (up,) = [p for key, p in parameters.items() if f"{name.removesuffix('.weight')}.lora_B" in key]
    torch.testing.assert_close(merged[name], base[name] + 3 * (up @ down).detach())


def test_adapters_for_layers_by_name(sources, tmp_path):
    encoder, folder = built(sources["bert"], tmp_path, lora_rank=2, lora_targets=r".*\.(query|value)")
    names = [name for name, p in encoder.student(folder).named_parameters() if p.requires_grad]
    assert len(names) == 2 * 2 * 2  # layers, targets, factors
    assert all(".query." in name or ".value." in name for name in names)
    with pytest.raises(ConfigError, match=r"lora_targets: 'nothing' matches no layer"):
        Transformer(lora_rank=2, lora_targets="nothing").student(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_the_one_that_is_asked_for(sources, tmp_path, kind):
    _, folder = built(sources[kind], tmp_path / "built")
    settings = json.loads((folder / "config.json").read_text())
    assert kind != "bert" or settings["hidden_dropout_prob"] == 0.1
    for dropout in (0.0, 0.5):
        student = Transformer(dropout=dropout, lora_rank=2).student(folder)
        assert not any(module.training for module in student.modules())
        student = Transformer(dropout=dropout).student(folder)
        student.train(True)
        assert student.dropout == dropout
        same = torch.equal(vectors(student, "docs"), vectors(student, "docs"))
        assert same == (dropout == 0)
        student.train(False)
        assert torch.equal(vectors(student, "docs"), vectors(student, "docs"))
        student.save(tmp_path / f"saved{dropout}")
        saved = json.loads((tmp_path / f"saved{dropout}" / "config.json").read_text())
        assert {key: value for key, value in saved.items() if "dropout" in key} == {
            key: value for key, value in settings.items() if "dropout" in key
        }


@pytest.mark.parametrize("kind", ["bert", "decoder"])
def test_what_was_learned_is_saved_with_prompts_and_lengths(sources, tmp_path, kind):
    prompts = {"query_prompt": PROMPTS["queries"], "document_prompt": PROMPTS["docs"]}
    encoder, folder = built(sources[kind], tmp_path / "built", **prompts, normalize=False)
    student = encoder.student(folder)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    student.save(tmp_path / "saved")
    again = encoder.student(tmp_path / "saved")
    assert again.lengths == {"queries": 6, "docs": 10}
    for table in PROMPTS:
        before = vectors(student, table).detach()
        assert np.abs(before.numpy() - folder_vectors(folder, table)).max() > 0.01
        np.testing.assert_allclose(folder_vectors(tmp_path / "saved", table), before, atol=1e-5)
        np.testing.assert_allclose(vectors(again, table).detach(), before, atol=1e-5)
    model = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert model.prompts == {"query": PROMPTS["queries"], "document": PROMPTS["docs"]}
    assert (model.similarity_fn_name, model.max_seq_length) == ("dot", 10)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_sentence_transformers_folder_keeps_its_modules_and_prompts(sources, tmp_path, similarity):
    modules = [Tokens(str(sources["bert"])), Pooling(16, "cls"), Dense(16, 8)]
    prompts = {"query": "kun ", "document": "dim "}
    given = SentenceTransformer(modules=modules, prompts=prompts, similarity_fn_name=similarity, device="cpu")
    given.truncate_dim = 4
    given.save(str(tmp_path / "source"), create_model_card=False)
    encoder, folder = built(tmp_path / "source", tmp_path / "built")
    given.truncate_dim, given.max_seq_length = None, 6
    want = given.encode_query(TEXTS, normalize_embeddings=similarity == "cosine")
    np.testing.assert_allclose(folder_vectors(folder, "queries"), want, atol=1e-5)
    student = encoder.student(folder)
    np.testing.assert_allclose(vectors(student, "queries").detach(), want, atol=1e-5)
    assert student.dimension == 8
    assert any("linear" in name for name, _ in student.named_parameters())
    adapted = Transformer(lora_rank=2).student(folder)
    assert all("lora_" in name for name, parameter in adapted.named_parameters() if parameter.requires_grad)

    model = SentenceTransformer(str(built(tmp_path / "source", tmp_path / "bare", query_prompt="")[1]), device="cpu")
    assert model.prompts == {"query": "", "document": "dim "}


@pytest.mark.parametrize("saved_by", ["hand", "sentence-transformers"])
@pytest.mark.parametrize("name", ["passage", "corpus"])
def test_a_prompt_for_passages_is_that_of_documents(sources, tmp_path, name, saved_by):
    """sentence-transformers puts an empty one called ``document`` beside it, and writes it down, too."""
    modules = [Tokens(str(sources["bert"])), Pooling(16, "mean")]
    given = SentenceTransformer(modules=modules, prompts={"query": "kun ", name: "dim gor "}, device="cpu")
    given.save(str(tmp_path / "source"), create_model_card=False)
    if saved_by == "hand":
        path = tmp_path / "source" / "config_sentence_transformers.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"prompts": {"query": "kun ", name: "dim gor "}}))
    encoder, folder = built(tmp_path / "source", tmp_path / "built")
    given.max_seq_length = 10
    want = given.encode(TEXTS, prompt_name=name, normalize_embeddings=True)
    assert np.abs(want - given.encode(TEXTS, normalize_embeddings=True)).max() > 0.01
    student = encoder.student(folder)
    np.testing.assert_allclose(vectors(student, "docs").detach(), want, atol=1e-5)
    np.testing.assert_allclose(folder_vectors(folder, "docs"), want, atol=1e-5)
    np.testing.assert_allclose(encode_texts(load_model(folder), TEXTS, "docs"), want, atol=1e-5)
    student.save(tmp_path / "saved")
    np.testing.assert_allclose(folder_vectors(tmp_path / "saved", "docs"), want, atol=1e-5)

    encoder, folder = built(tmp_path / "source", tmp_path / "bare", document_prompt="")
    want = given.encode(TEXTS, prompt="", normalize_embeddings=True)
    np.testing.assert_allclose(vectors(encoder.student(folder), "docs").detach(), want, atol=1e-5)
    np.testing.assert_allclose(folder_vectors(folder, "docs"), want, atol=1e-5)
    np.testing.assert_allclose(encode_texts(load_model(folder), TEXTS, "docs"), want, atol=1e-5)


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan"])
def test_another_similarity_is_refused_unless_normalize_says_how_to_rank(sources, tmp_path, similarity):
    modules = [Tokens(str(sources["bert"])), Pooling(16, "mean")]
    given = SentenceTransformer(modules=modules, similarity_fn_name=similarity, device="cpu")
    given.save(str(tmp_path / "source"), create_model_card=False)
    with pytest.raises(ConfigError, match=f"{tmp_path / 'source'} has similarity {similarity}.*normalize"):
        built(tmp_path / "source", tmp_path / "built")
    for normalize in (True, False):
        _, folder = built(tmp_path / "source", tmp_path / str(normalize), normalize=normalize)
        assert opened(folder).similarity_fn_name == ("cosine" if normalize else "dot")


def test_normalize_false_takes_a_normalisation_away(tmp_path):
    source = tiny.model(tmp_path, "transformer").path / "model"
    _, folder = built(source, tmp_path / "built", normalize=False)
    modules = list(SentenceTransformer(str(folder), device="cpu"))
    assert not any(isinstance(module, Normalize) for module in modules)
    _, folder = built(source, tmp_path / "kept")
    modules = list(SentenceTransformer(str(folder), device="cpu"))
    assert [type(module) for module in modules] == [Tokens, Pooling, Normalize]


def test_a_plain_folder_is_pooled_as_its_architecture_says_and_without_its_chat_template(sources, tmp_path):
    source = shutil.copytree(sources["decoder"], tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))
    (source / "chat_template.jinja").write_text("kun {{ messages[0]['content'] }} kun")
    encoder, folder = built(source, tmp_path / "built")
    want = oracle(source, "decoder", "docs", "last", normalize=True)
    np.testing.assert_allclose(vectors(encoder.student(folder), "docs").detach(), want, atol=1e-5)
    np.testing.assert_allclose(folder_vectors(folder, "docs"), want, atol=1e-5)
    _, folder = built(sources["decoder"], tmp_path / "other")
    want = oracle(source, "decoder", "docs", "mean", normalize=True)
    np.testing.assert_allclose(folder_vectors(folder, "docs"), want, atol=1e-5)


@pytest.mark.parametrize(("kind", "longest"), [("bert", 32), ("roberta", 31), ("modernbert", 32), ("decoder", 32)])
def test_no_more_tokens_than_the_model_has_positions_for(sources, tmp_path, kind, longest):
    encoder, folder = built(sources[kind], tmp_path, document_length=longest)
    assert vectors(encoder.student(folder), "docs").isfinite().all()
    with pytest.raises(ConfigError, match=rf"document_length: must be at most {longest}, .* got {longest + 1}$"):
        built(sources[kind], tmp_path, document_length=longest + 1)


def test_a_prompt_leaves_room_for_text(sources, tmp_path):
    with pytest.raises(ConfigError, match=r"query_length: prompt and special tokens take 4 of 4 tokens"):
        built(sources["bert"], tmp_path, query_prompt="kun bal ", query_length=4)


def test_a_tokenizer_without_any_token_to_pad_with_is_refused(sources, tmp_path):
    source = shutil.copytree(sources["decoder"], tmp_path / "source")
    path = source / "tokenizer_config.json"
    kept = {key: value for key, value in json.loads(path.read_text()).items() if key != "eos_token"}
    path.write_text(json.dumps(kept))
    with pytest.raises(ConfigError, match="neither a padding nor an end-of-text token"):
        built(source, tmp_path / "built")


def test_what_is_no_transformer_is_refused(tmp_path, sources):
    with pytest.raises(ConfigError, match="expected a transformer with pooling, got StaticEmbedding, Normalize"):
        built(tiny.model(tmp_path, "static").path / "model", tmp_path / "built")
    modules = [Tokens(str(sources["bert"])), Pooling(16, include_prompt=False)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "left"), create_model_card=False)
    with pytest.raises(ConfigError, match="its pooling excludes the prompt"):
        built(tmp_path / "left", tmp_path / "built")


def test_weights_are_held_to_their_hash(sources, tmp_path):
    with pytest.raises(ConfigError, match="has sha256"):
        built(sources["bert"], tmp_path, sha256="0" * 64)


def test_half_precision_weights_become_float32(sources, tmp_path):
    source = shutil.copytree(sources["bert"], tmp_path / "source")
    AutoModel.from_pretrained(source).bfloat16().save_pretrained(source)
    encoder, folder = built(source, tmp_path / "built")
    assert {parameter.dtype for parameter in encoder.student(folder).parameters()} == {torch.float32}
    assert SentenceTransformer(str(folder), device="cpu").dtype == torch.float32


@pytest.fixture
def custom(sources, tmp_path, monkeypatch):
    """A folder whose model is a class in a file of its own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    source = shutil.copytree(sources["bert"], tmp_path / "custom")
    (source / "modeling_custom.py").write_text(
        "from transformers import BertConfig, BertModel\n\n\n"
        "class CustomConfig(BertConfig):\n    model_type = 'custom-bert'\n\n\n"
        "class CustomModel(BertModel):\n    config_class = CustomConfig\n"
    )
    config = json.loads((source / "config.json").read_text()) | {"model_type": "custom-bert"}
    config["auto_map"] = {"AutoConfig": "modeling_custom.CustomConfig", "AutoModel": "modeling_custom.CustomModel"}
    (source / "config.json").write_text(json.dumps(config))
    return source


def test_code_of_the_model_runs_only_where_it_is_trusted(custom, sources, tmp_path):
    assert Transformer().trust_remote_code is False
    with pytest.raises(ConfigError, match=r"needs its own Python code.*trust_remote_code is true"):
        built(custom, tmp_path / "refused")
    assert not (tmp_path / "modules").exists()
    encoder, folder = built(custom, tmp_path / "built", trust_remote_code=True)
    with pytest.raises(ConfigError, match="needs its own Python code"):
        Transformer().student(folder)
    student = encoder.student(folder)
    want = oracle(sources["bert"], "bert", "docs", "mean", normalize=True)
    np.testing.assert_allclose(vectors(student, "docs").detach(), want, atol=1e-5)
    student.save(tmp_path / "saved")
    np.testing.assert_allclose(folder_vectors(tmp_path / "saved", "docs"), want, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("query_length", 0),
        ("document_length", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("lora_rank", -1),
        ("lora_alpha", 0),
    ],
)
def test_a_wrong_field_is_named(field, value):
    with pytest.raises(ValueError, match=f"{field}:? must be"):
        Transformer(**{field: value})
