"""Prompts for vLLM, and errors before an engine starts. No engine is started."""

import json

import pytest

from gradret.engines import Prompt, Sampling, TooLong
from gradret.engines.vllm import Vllm, VllmResources
from gradret.errors import ConfigError

from . import tiny_llm

NO_SYSTEM = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}</s>{% endfor %}<|assistant|>"
)


@pytest.fixture(scope="module")
def tokenizer(llm):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(llm)


def engine(folder, **fields):
    resources = VllmResources(cpus=1)
    return Vllm(**{"model": str(folder), "resources": resources} | fields)


def prompt(sampling=None, text="a plane über 翼", **fields):
    sampling = sampling or Sampling(20)
    return Prompt("p1", "Be short.", lambda texts: f"{texts[0]}\nSay it.", (text,), sampling, **fields)


def test_a_prompt_is_the_template_with_the_generation_prompt(llm, tokenizer):
    row = engine(llm).load()(prompt(Sampling(20, min_tokens=2, temperature=0.5, top_p=0.9)), 7)
    said = tokenizer.decode(row["tokenized_prompt"])
    assert said == "<|system|>Be short.</s><|user|>a plane über 翼\nSay it.</s><|assistant|>"
    wanted = {"max_tokens": 20, "min_tokens": 2, "temperature": 0.5, "top_p": 0.9, "seed": 7}
    assert json.loads(row["asked"]) == wanted
    assert (row["cut"], row["eos_ids"]) == (0, [tokenizer.eos_token_id])


def test_choices_and_a_schema_become_parameters(llm, tokenizer):
    write = engine(llm).load()
    asked = json.loads(write(prompt(Sampling(1, choices=("0", "3"))), 7)["asked"])
    assert [tokenizer.decode([token]) for token in asked["logprob_token_ids"]] == ["0", "3"]
    assert asked["logprobs"] == 2
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}}}
    asked = json.loads(write(prompt(Sampling(9, json_schema=schema)), 7)["asked"])
    assert json.loads(asked["structured_outputs"]["json"]) == schema


def test_a_choice_of_several_tokens_is_refused(llm):
    with pytest.raises(ConfigError, match="'10' is not a single token"):
        engine(llm).load()(prompt(Sampling(1, choices=("0", "10"))), 7)


@pytest.mark.parametrize("word", ["the wing of ", "über 翼 ", "🛩️"])
def test_the_document_fills_what_is_left_and_the_instruction_stays(llm, tokenizer, word):
    write = engine(llm, engine_kwargs={"max_model_len": 128}).load()
    row = write(prompt(Sampling(20), word * 200, max_text_tokens=10_000), 7)
    said = tokenizer.decode(row["tokenized_prompt"])
    assert said.endswith("\nSay it.</s><|assistant|>")
    assert 128 - 20 - 8 <= len(row["tokenized_prompt"]) <= 128 - 20
    document = said.partition("<|user|>")[2].partition("\nSay it.")[0]
    assert (word * 200).startswith(document)
    assert row["cut"] == 1


def test_a_document_is_cut_where_its_own_limit_is_lower(llm, tokenizer):
    row = engine(llm).load()(prompt(text="the wing of " * 200, max_text_tokens=10), 7)
    document = tokenizer.decode(row["tokenized_prompt"]).partition("<|user|>")[2].partition("\nSay it.")[0]
    assert len(tokenizer(document)["input_ids"]) == 10


def test_what_does_not_fit_is_told(llm):
    write = engine(llm, engine_kwargs={"max_model_len": 40}).load()
    with pytest.raises(TooLong, match="at most 5 fit"):
        write(prompt(Sampling(35)), 7)


def test_a_template_that_refuses_system_messages_gets_one_message(llm, tokenizer, tmp_path):
    (tmp_path / "chat.jinja").write_text(NO_SYSTEM)
    row = engine(llm, chat_template=str(tmp_path / "chat.jinja")).load()(prompt(), 7)
    said = tokenizer.decode(row["tokenized_prompt"])
    assert said == "<|user|>Be short.\n\na plane über 翼\nSay it.</s><|assistant|>"


def test_template_arguments_reach_the_template(llm, tokenizer, tmp_path):
    (tmp_path / "chat.jinja").write_text("{{ 'thinking' if enable_thinking else 'silent' }}{{ messages }}")
    fields = {"chat_template": str(tmp_path / "chat.jinja")}
    for thinking, said in ((True, "thinking"), (False, "silent")):
        row = engine(llm, chat_template_kwargs={"enable_thinking": thinking}, **fields).load()(prompt(), 7)
        assert tokenizer.decode(row["tokenized_prompt"]).startswith(said)


def test_a_base_model_continues_the_plain_text(tmp_path):
    from transformers import AutoTokenizer

    base = tiny_llm.write(tmp_path / "base", chat_template=None)
    row = engine(base, chat_template="plain").load()(prompt(text="a plane"), 7)
    tokenizer = AutoTokenizer.from_pretrained(base)
    said = f"{tokenizer.bos_token or ''}Be short.\n\na plane\nSay it."
    assert row["tokenized_prompt"] == tokenizer(said, add_special_tokens=False)["input_ids"]


def test_what_cannot_work_is_refused_before_it_starts(llm, tmp_path, ray_session, vllm):
    plain = tiny_llm.write(tmp_path / "plain", chat_template=None)
    with pytest.raises(ConfigError, match="has no chat template"):
        engine(plain).check()
    (tmp_path / "deaf.jinja").write_text("{% for m in messages if m.role == 'query' %}{{ m.content }}{% endfor %}")
    with pytest.raises(ConfigError, match=r"drops the text.*set chat_template to a Jinja file"):
        engine(llm, chat_template=str(tmp_path / "deaf.jinja")).check()
    with pytest.raises(ConfigError, match=r"cannot load model .*nowhere"):
        engine(tmp_path / "nowhere").check()
    with pytest.raises(ConfigError, match=r"chat_template .*: No such file"):
        engine(llm, chat_template=str(tmp_path / "none.jinja")).check()
    with pytest.raises(ConfigError, match=r"generate needs a node with 1 CPU, 1 GPU, but .*resources\.cpus"):
        Vllm(str(llm)).wait("generate")
    engine(llm).check()
    with pytest.raises(ValueError, match="engine_kwargs must not contain model"):
        engine(llm, engine_kwargs={"model": "x"})
    with pytest.raises(ValueError, match="batch_size: must be at least 1"):
        VllmResources(batch_size=0)
    with pytest.raises(ValueError, match=r"environment: HF_TOKEN: .* must hold no secret"):
        VllmResources(environment={"HF_TOKEN": "hf_x"})


def test_seeds_follow_from_ids():
    seeds = {Prompt(name, "", str, (), Sampling(1)).seed(run) for name in ("p1", "p2") for run in (0, 1)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert prompt().seed(3) == prompt(text="another").seed(3)
