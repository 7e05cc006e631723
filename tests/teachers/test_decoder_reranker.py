"""The decoder reranker's prompts and errors."""

import numpy as np
import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.errors import ConfigError
from gradret.prompts import messages
from gradret.teachers.decoder_reranker import DecoderReranker

from . import tiny_models


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    return str(tiny_models.decoder(tmp_path_factory.mktemp("models") / "qwen3"))


@pytest.fixture
def prepare(tmp_path):
    config = Config(name="toy", dataset=Pydocs(), storage_path=str(tmp_path / "storage"))
    return lambda teacher: teacher.prepare(config, None, None)["model"]


def test_documents_are_cut_and_nothing_else_is(qwen3):
    document = "bal dim gom kun fas " * 20
    cut = DecoderReranker(qwen3, max_doc_tokens=7).load({})
    ids = cut.model.prompts.tokens(document, add_special_tokens=False)["input_ids"]
    short = cut.model.prompts.tokens.decode(ids[:7])
    assert document.startswith(short)
    whole = DecoderReranker(qwen3).load({})
    assert cut.score_pairs([("dim", document)]) == pytest.approx(whole.score_pairs([("dim", short)]), abs=1e-5)
    assert abs(whole.score_pairs([("dim", document)]) - whole.score_pairs([("dim", short)])) > 1e-3
    query = "bal " * 50
    assert cut.score_pairs([(query, "kun")]) == pytest.approx(whole.score_pairs([(query, "kun")]), abs=1e-5)


def test_a_prompt_that_the_model_cannot_read_has_no_score(qwen3):
    grader = DecoderReranker(qwen3).load({})
    pairs = [("bal", "dim"), ("bal " * 600, "dim"), ("kun", "gom")]
    found = grader.score_pairs(pairs)
    assert np.isnan(found).tolist() == [False, True, False]
    assert np.isnan(grader.score_pairs(pairs[1:2])).all()


def test_our_template_shows_all_three():
    system, user = messages("rerank/yes_no", query="", document="", instruction="")
    text = user(query="a <b>", document="d\n\ne", instruction="i")
    assert text == "<Instruct>: i\n<Query>: a <b>\n<Document>: d\n\ne"
    assert "yes or no" in system


def test_what_is_known_of_the_model(prepare, qwen3):
    assert prepare(DecoderReranker(qwen3)).manifest["notes"] == {"yes": 7, "no": 8, "chat_template": True}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"yes": "true"}, "yes='true' is not a token of"),
        ({"no": "false"}, "no='false' is not a token of"),
        ({"template": "rerank/maybe"}, "template 'rerank/maybe' cannot be read"),
        ({"template": "judge/binary"}, r"template judge/binary: user\(query, document, instruction\) fails"),
    ],
)
def test_what_cannot_work_is_refused_before_a_worker_starts(prepare, qwen3, keys, told):
    with pytest.raises(ConfigError, match=told):
        prepare(DecoderReranker(qwen3, **keys))


def test_an_encoder_decoder_is_refused(prepare, tmp_path):
    folder = tiny_models.t5(tmp_path / "t5")
    with pytest.raises(ConfigError, match=r"is an encoder-decoder \(t5\); use the teacher mono_t5 or rank_t5"):
        prepare(DecoderReranker(str(folder)))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"max_doc_tokens": 0}, "max_doc_tokens: must be at least 1, got 0"),
        ({"yes": "a", "no": "a"}, "^yes and no must be different tokens, got 'a' for both"),
    ],
)
def test_settings_that_cannot_be(keys, told):
    with pytest.raises(ValueError, match=told):
        DecoderReranker("some/model", **keys)


PAIR = (
    "<|system|>{{ messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first }}"
    "<|user|>{{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}"
    "</s>{{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}<|assistant|>"
)


def test_a_rerankers_template_gets_query_and_document_by_their_roles(tmp_path):
    folder = str(tiny_models.decoder(tmp_path / "pair", PAIR))
    prompts = DecoderReranker(folder, instruction="gor", max_doc_tokens=2).load({}).model.prompts
    said = [prompts.tokens.decode(ids) for ids in prompts.rows([("bal", "dim"), ("kun", "gom")])]
    assert said == ["<|system|>gor<|user|>bal</s>dim<|assistant|>", "<|system|>gor<|user|>kun</s>gom<|assistant|>"]


def test_a_template_without_a_system_role_gets_its_text_with_the_users(tmp_path):
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}<|assistant|>"
    )
    prompts = DecoderReranker(str(tiny_models.decoder(tmp_path / "none", template))).load({}).model.prompts
    system, user = messages("rerank/yes_no", query="", document="", instruction="")
    text = user(query="bal", document="dim", instruction="Find documents that answer the query.")
    assert prompts.tokens.decode(prompts.rows([("bal", "dim")])[0]) == f"<|user|>{system}\n\n{text}</s><|assistant|>"


def test_a_template_that_shows_no_pair_is_refused_before_a_worker_starts(prepare, tmp_path):
    folder = str(tiny_models.decoder(tmp_path / "deaf", "<|user|>{{ messages[0].role }}<|assistant|>"))
    with pytest.raises(ConfigError, match=r"decoder_reranker: .*deaf: its chat template drops the text"):
        prepare(DecoderReranker(folder))
