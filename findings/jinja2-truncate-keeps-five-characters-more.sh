#!/usr/bin/env bash
# jinja2's truncate(n) leaves a text of up to n + 5 characters whole: the limit has a leeway of 5. It matters for a
# prompt with a budget: many short fields each take up to five characters more, and truncated and whole ones are of
# mixed lengths.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages jinja2==3.1.6

python - <<'PYTHON'
import jinja2


def cut(length, *leeway):
    options = ", ".join(["9", "true", "''", *leeway])
    return len(jinja2.Template("{{ text | truncate(" + options + ") }}").render(text="x" * length))


seen, strict = {length: cut(length) for length in (9, 14, 15)}, {length: cut(length, "0") for length in (9, 14, 15)}
print(f"jinja2 {jinja2.__version__}: length before and after truncate(9, true, ''): {seen}; with leeway 0: {strict}")
assert seen == {9: 9, 14: 14, 15: 9} and strict == {9: 9, 14: 9, 15: 9}
PYTHON
