"""Chat templates of the kinds that models have, compared with prompts written by hand."""

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from gradret.errors import ConfigError
from gradret.models.chat import ChatTemplate

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TURNS
DROPS = "{% for m in messages if m.role == 'user' %}<user>{{ m.content | trim }}{% endfor %}<bot>"
PAIRS = "{% for m in messages if m.role in ('query', 'document') %}<{{ m.role }}>{{ m.content }}{% endfor %}"
PARTS = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
BREAKS = "{{ messages[0].content + 1 }}"
MESSAGES = [{"role": "system", "content": "Grade it."}, {"role": "user", "content": "A wing."}]


def chat(template, **variables):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    tokenizer.chat_template = "of the tokenizer"
    return ChatTemplate(tokenizer, template, **variables)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (TURNS, "<system>Grade it.<user>A wing.<bot>"),
        (REFUSES, "<user>Grade it.\n\nA wing.<bot>"),
        (DROPS, "<user>Grade it.\n\nA wing.<bot>"),
    ],
)
def test_what_is_asked_comes_out(template, said):
    found = chat(template)
    found.require_user("engine x", "do y")
    assert found.text(MESSAGES) == said
    assert found.text(MESSAGES[1:]) == "<user>A wing.<bot>"


@pytest.mark.parametrize("template", [PAIRS, PARTS, BREAKS, "<bot>", "{{ messages[0].role }}", ""])
def test_a_template_that_drops_what_is_asked_is_refused(template):
    with pytest.raises(ConfigError, match=r"^engine x: its chat template drops the text .*; do y$"):
        chat(template).require_user("engine x", "do y")


def test_other_roles_and_variables():
    assert chat(PAIRS).shows("query", "document")
    assert not chat(PAIRS).shows("system", "query", "document")
    assert chat("{{ mood }}" + TURNS, mood="calm").text(MESSAGES[1:]) == "calm<user>A wing.<bot>"
