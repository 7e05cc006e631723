#!/usr/bin/env bash
# jinja2's unique and groupby ignore case unless told otherwise: unique drops "US" beside "us", and groupby puts two
# ids that differ in case into one group, under one's name. It matters for prompts that list deduplicated terms or
# group passages by a document's id.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages jinja2==3.1.6

python - <<'PYTHON'
import jinja2


def render(template, **values):
    return jinja2.Template(template).render(**values)


unique = render("{{ terms | unique | join(' ') }}", terms=["us", "US", "it", "IT"])
exact = render("{{ terms | unique(case_sensitive=true) | join(' ') }}", terms=["us", "US", "it", "IT"])
passages = [{"doc": "d1A", "text": "x"}, {"doc": "d1a", "text": "y"}]
groups = render(
    "{% for doc, all in passages | groupby('doc') %}{{ doc }}: {{ all | map(attribute='text') | join('+') }};{% endfor %}",
    passages=passages,
)
print(
    f"jinja2 {jinja2.__version__}: unique of us US it IT: {unique!r}; case_sensitive: {exact!r}; groups of d1A and d1a: {groups!r}"
)
assert unique == "us it" and exact == "us US it IT"
assert groups == "d1A: x+y;"
PYTHON
